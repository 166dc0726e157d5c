"""The HTTP server: gunicorn with a worker that gives slow clients a deadline before they get a thread."""
