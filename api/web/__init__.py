"""The web page: server-rendered HTML that works without scripts and is more convenient with them."""
