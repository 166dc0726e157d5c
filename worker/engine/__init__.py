"""A torch library for visualizing image classifiers; it imports nothing from the rest of the project."""
