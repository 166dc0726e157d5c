"""Checks of requests that their schemas cannot make, because they need the catalogue, uploads or network addresses."""
