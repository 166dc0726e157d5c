"""The job as a method sees it: its context, the requests for co-batching, and the results of other jobs."""
