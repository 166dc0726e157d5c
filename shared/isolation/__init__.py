"""Work on untrusted input in child processes with limits on memory and time, shared fairly by tenants."""
