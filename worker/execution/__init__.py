"""Execution of jobs: lanes, batches, attempts, checkpoints and recovery."""
