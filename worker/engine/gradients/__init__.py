"""Backward passes in which ReLU and max pooling have another derivative than their own."""
