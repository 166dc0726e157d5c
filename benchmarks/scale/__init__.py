"""Measures how the service scales: real Redis and real workers' code on a simulated clock, with simulated GPUs."""
