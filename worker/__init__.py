"""Jobs in, pictures out."""
