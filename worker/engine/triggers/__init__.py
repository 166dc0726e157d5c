"""Trigger search: the smallest change of images that makes a classifier predict a class, for many classes at once."""
