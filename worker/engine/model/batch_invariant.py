"""Batch-invariant operations: the result of a slot is bit-identical for every batch size and position in the batch.

Reductions and vectorized functions of torch do not guarantee this: their order of operations depends on the shape of
the whole tensor (He et al. 2025, "Defeating Nondeterminism in LLM Inference").
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor


def sum_rows(values: Tensor) -> Tensor:
    """Sums the values of each slot: (N, …) → (N,).

    The sum runs over one axis at a time. A sum over several axes at once is divided between threads in a way that
    depends on the number of slots, and is rounded accordingly.
    """
    while values.ndim > 1:
        values = values.sum(-1)
    return values


def each_row(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Applies a function to the values of each slot (N, …); on a CPU to one slot after another.

    On a CPU, values that fill a vector register and the remainder at the end of a thread's range are computed by
    different code. Exponentials, sines and powers would be rounded depending on where a slot lies in the batch.

    Args:
        function: Maps (N, …) to (N, …), element by element or at least slot by slot.
        values: (N, …).

    Returns:
        The function's values (N, …).
    """
    if values.device.type != "cpu" or not len(values):
        return function(values)
    return torch.stack([function(row) for row in values.contiguous()])


def power(base: Tensor | float, exponent: Tensor | float) -> Tensor:
    """Computes powers of a tensor of bases (N, …), or of one base with a tensor of exponents (N, …)."""
    if isinstance(exponent, Tensor):
        return each_row(partial(torch.pow, base), exponent)
    return each_row(partial(torch.pow, exponent=exponent), torch.as_tensor(base))
