"""Saliency maps of a job's pairs of image and target, and the metrics of these maps."""
