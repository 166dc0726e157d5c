"""S3: the source of truth about jobs, models, keys and schedules."""
