"""Calls the network, which is other people's code, and tells its errors apart from errors of this library."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.model.microbatch import is_out_of_memory


class NetworkError(RuntimeError):
    """The network raised an exception, or did something that no classifier does."""


def call_network(network: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Any:
    """Runs a network on a copy of its inputs, because some networks write into them.

    Args:
        network: A network in eval mode.
        inputs: Normalized images (N, C, H, W).
        dtype: Precision of the network.

    Returns:
        What the network returns.

    Raises:
        NetworkError: The network raised an exception.
        torch.OutOfMemoryError: Memory ran out.
    """
    # Contiguous: `view` after a convolution would fail for the memory layout that an image has after decoding.
    copied = inputs.to(dtype).clone(memory_format=torch.contiguous_format)
    try:
        return network(copied)
    except Exception as error:  # it is arbitrary code
        raise _explain(error, "forward pass") from error


def compute_gradients(
    total: Tensor, inputs: Sequence[Tensor], *, lenient: bool = False, keep: bool = False
) -> tuple[Tensor, ...]:
    """Computes the gradients of a sum with respect to tensors.

    Args:
        total: A sum of scores ().
        inputs: Tensors (…) that the sum may depend on.
        lenient: Whether a tensor that the sum does not depend on has the gradient 0; otherwise that is an error.
        keep: Whether gradients of other sums of the same forward pass are computed afterwards.

    Returns:
        The gradient of each tensor (…).

    Raises:
        NetworkError: The backward pass fails, or the sum does not depend on the tensors.
        torch.OutOfMemoryError: Memory ran out.
    """
    if not total.requires_grad:
        raise NetworkError("the scores have no gradient: the network detaches them, or runs without gradients inside")
    try:
        return torch.autograd.grad(
            total, list(inputs), allow_unused=lenient, materialize_grads=lenient, retain_graph=keep
        )
    except Exception as error:  # it is arbitrary code
        raise _explain(error, "backward pass") from error


def _explain(error: Exception, place: str) -> Exception:
    if isinstance(error, NetworkError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return error
    if "not have been used in the graph" in str(error):
        return NetworkError("the scores do not depend on the image, or not on the named layer")
    first_line = next(iter(str(error).strip().splitlines()), "").partition(" Hint:")[0]
    return NetworkError(f"the network raised {type(error).__name__} in its {place}: {first_line}")
