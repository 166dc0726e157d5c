"""Reads weights files, and finds the state dict in them that fits a network."""
