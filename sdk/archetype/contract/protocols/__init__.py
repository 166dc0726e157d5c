"""Protocols of other systems that the service speaks."""
