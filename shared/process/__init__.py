"""Parts of every process: logging, tracing, liveness, and the link to its parent."""
