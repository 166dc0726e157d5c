"""Networks: preparation, forward passes, scores, layers, precision and batch size."""
