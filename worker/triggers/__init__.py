"""Trigger searches of jobs: carriers, rounds with checkpoints, and evidence. The search itself is in the engine."""
