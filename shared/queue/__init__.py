"""Shards, lanes and claims in Redis, Celery messages, and cron times."""
