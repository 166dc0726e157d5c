"""Measurements of execution plans."""
