"""The parts of the webhook sender."""
