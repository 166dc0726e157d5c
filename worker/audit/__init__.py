"""Audits: from what jobs have made of two releases to a verdict."""
