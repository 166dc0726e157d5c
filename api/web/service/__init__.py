"""The page about the service itself: workers, queue, webhooks, registered releases and keys."""
