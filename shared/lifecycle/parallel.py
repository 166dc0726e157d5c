"""Calls of a function for many items, several at the same time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import structlog

from shared.errors import Problem

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 8
"""Calls that run at the same time."""

BATCH = 64
"""Items of which the results are in memory at the same time."""

log = structlog.get_logger()


def run_parallel(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of a function, in order. Items for which it fails are logged and left out.

    Raises:
        Problem: The function failed for every item of a batch: it is not the items that are the cause.
    """
    items = iter(items)
    with ThreadPoolExecutor(PARALLEL) as pool:
        while batch := list(islice(items, BATCH)):
            calls = [pool.submit(function, item) for item in batch]
            failures = [error for call in calls if (error := call.exception()) is not None]
            for error in failures:
                log.warning("retention.failed", error=str(error)[:300])
            if len(failures) == len(batch) and isinstance(failures[0], Problem):
                raise failures[0]
            yield from (call.result() for call in calls if call.exception() is None)
