"""Calls a function for several items at a time, in threads that work for the same request."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(function: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    """Returns the results for all items, in their order.

    Each thread has the context of the caller: its tenant, its log fields, and how long it waits for answers.

    Args:
        function: The function.
        items: The items.
        threads: Number of calls at a time.
    """
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(copy_context().run, function, item) for item in items]]
