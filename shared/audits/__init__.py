"""What the API and the workers share about audits: identical releases and their report."""
