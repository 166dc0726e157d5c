"""The page: the service for people, in HTML that reads well without scripts, and better with them."""
