"""Families of triggers: ways to write a change of images as a vector of parameters."""
