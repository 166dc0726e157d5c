"""What the API and the workers must agree on; no Flask, no torch."""
