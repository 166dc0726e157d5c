"""A torch library for looking into classifiers; it has never heard of jobs, and runs on any machine as it is."""
