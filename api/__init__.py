"""The HTTP API and the scheduler of audits."""
