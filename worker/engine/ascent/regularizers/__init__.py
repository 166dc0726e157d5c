"""Regularizers: penalties on the image, and on the features that a network has of it."""
