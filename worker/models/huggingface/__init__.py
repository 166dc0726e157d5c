"""Loads Hugging Face model folders, as timm and transformers save them, from an uploaded archive."""
