"""Explanations while a client waits, in the formats of KServe."""
