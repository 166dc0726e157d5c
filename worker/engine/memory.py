"""When memory runs out: the same work in smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def run_in_parts(work: Callable[[slice], T], count: int, limit: int) -> tuple[list[T], int]:
    """Does `work` on `count` rows, at most `limit` at a time, and half as many whenever memory runs out.

    Returns:
        What each part gave, and the limit that held.

    Raises:
        torch.OutOfMemoryError: One row alone is too much.
    """
    done: list[T] = []
    start = 0
    while start < count:
        try:
            done.append(work(slice(start, min(start + limit, count))))
            start += limit
            continue
        except RuntimeError as error:
            if limit == 1 or not is_out_of_memory(error):
                raise
        # Outside the handler: the error holds on to what the failed part had allocated.
        limit = (limit + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return done, limit


def is_out_of_memory(error: RuntimeError) -> bool:
    """A device's allocator has an error of its own, the CPU's only a sentence."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
