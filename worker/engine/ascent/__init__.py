"""Gradient ascent on images: objectives, regularizers, parameterizations, transforms, optimizers, and the loop."""
