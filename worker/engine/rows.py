"""What is computed slot by slot, so that it comes out the same to the last bit whatever the number of slots."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor


def sum_rows(values: Tensor) -> Tensor:
    """The sum of each slot's values (N, …) → (N,).

    One axis after the other: a sum over all of them at once is shared out between threads differently for one slot than
    for many, and rounds differently.
    """
    while values.ndim > 1:
        values = values.sum(-1)
    return values


def each_row(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """The function of each slot's values (N, …); on a CPU one slot after the other.

    There, what fills a vector register and what is left over at the end of a thread's part are computed by different
    code: where a slot lies in the batch decides how its exponentials, sines and powers are rounded.
    """
    if values.device.type != "cpu" or not len(values):
        return function(values)
    return torch.stack([function(row) for row in values.contiguous()])


def power(base: Tensor | float, exponent: Tensor | float) -> Tensor:
    """Powers, of each slot's values or with them for exponents."""
    if isinstance(exponent, Tensor):
        return each_row(partial(torch.pow, base), exponent)
    return each_row(partial(torch.pow, exponent=exponent), torch.as_tensor(base))
