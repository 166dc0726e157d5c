"""The history: an index of ended jobs in the store, by tenant and day of creation. It replaces records in Redis."""
