"""Audits: comparison of two releases, gates, verdict and report."""
