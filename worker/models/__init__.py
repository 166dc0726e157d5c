"""Networks and their weights: loading, downloading and caching."""
