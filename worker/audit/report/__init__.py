"""The document of an audit's report, composed from the results."""
