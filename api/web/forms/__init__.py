"""The forms of new jobs, generated from the JSON Schema of the requests."""
