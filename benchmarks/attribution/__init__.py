"""Benchmarks of saliency maps."""
