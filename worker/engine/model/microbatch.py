"""Runs a batch in microbatches, and halves their size when memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def run_in_microbatches(work: Callable[[slice], T], count: int, limit: int) -> tuple[list[T], int]:
    """Calls `work` for consecutive slices of `count` rows; halves the slices when memory runs out.

    Args:
        work: Computes the result of some rows.
        count: Number of rows.
        limit: Maximum number of rows per call.

    Returns:
        The results in the order of the rows, and the limit at the end.

    Raises:
        torch.OutOfMemoryError: A single row does not fit into memory.
    """
    results: list[T] = []
    start = 0
    while start < count:
        try:
            results.append(work(slice(start, min(start + limit, count))))
            start += limit
            continue
        except RuntimeError as error:
            if limit == 1 or not is_out_of_memory(error):
                raise
        # Outside the handler: the error keeps the memory of the failed call alive.
        limit = (limit + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results, limit


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tells whether an error means that memory ran out; the CPU allocator raises a plain `RuntimeError`."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
