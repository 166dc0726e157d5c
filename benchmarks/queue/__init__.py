"""Benchmarks of the queue, with simulated workers."""
