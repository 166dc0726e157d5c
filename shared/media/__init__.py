"""Decoding of untrusted images, arrays and archives."""
