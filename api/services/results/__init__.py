"""Use cases of the results of jobs: names of files, archives, and the atlas of a model."""
