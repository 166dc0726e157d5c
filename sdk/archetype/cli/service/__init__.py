"""Which service the command line talks to: options, contexts, and completion from it."""
