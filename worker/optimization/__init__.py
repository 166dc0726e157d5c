"""Gradient ascent for jobs: building, running, checkpointing and recording ascents."""
