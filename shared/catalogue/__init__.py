"""The catalogue of models: built-in releases, the operator's file, and registered releases."""
