"""Use cases of the API, independent of HTTP."""
