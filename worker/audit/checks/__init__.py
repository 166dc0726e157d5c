"""Gates with measures of their own: slices of the probes, robustness, and natural shortcuts."""
