"""Redis: the current state of jobs, workers and metrics. Everything in it can be rebuilt from S3."""
