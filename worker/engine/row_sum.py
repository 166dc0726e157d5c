"""Sums per slot that come out the same to the last bit whatever the number of slots."""

from torch import Tensor


def sum_rows(values: Tensor) -> Tensor:
    """The sum of each slot's values (N, …) → (N,).

    One axis after the other: a sum over all of them at once is shared out between threads differently for one slot than
    for many, and rounds differently.
    """
    while values.ndim > 1:
        values = values.sum(-1)
    return values
