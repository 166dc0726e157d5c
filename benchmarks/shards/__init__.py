"""Benchmarks of jobs that are split into shards."""
