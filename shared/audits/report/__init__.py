"""What a report concludes from the measurements: results of the gates, and the first page."""
