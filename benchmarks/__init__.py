"""Benchmarks: speed compared with other libraries, quality of the results, capacity of the service."""
