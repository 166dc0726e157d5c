"""The gate `trigger` of audits."""
