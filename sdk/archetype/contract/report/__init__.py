"""The report of an audit, the decisions about it, and its signature."""
