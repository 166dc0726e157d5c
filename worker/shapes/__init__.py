"""The built-in model `shapes`: its network, its weights, its drawn training images, and its training."""
