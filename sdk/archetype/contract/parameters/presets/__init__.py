"""Presets: named sets of default values."""
