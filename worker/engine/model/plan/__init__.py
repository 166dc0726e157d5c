"""Execution plans: the precision and batch size with which a network is fastest on a device."""
