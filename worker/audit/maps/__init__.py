"""Saliency maps of the probes: which kind is faithful, and the maps of both releases."""
