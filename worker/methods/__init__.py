"""The methods, one module each; `run` is the method as a generator of progress and batch requests."""
