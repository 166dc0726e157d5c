"""Digest of the weights of a network as they are after loading, by which releases with equal weights are found."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from archetype.contract.model import Description

COUNTER = "num_batches_tracked"
"""A buffer of batch norms that training alone reads."""


def digest_tensors(network: nn.Module) -> str | None:
    """SHA-256 of the names, types, shapes and values of all weights and buffers.

    The digest depends neither on the file and its format nor on the device and the memory layout of the weights.

    Args:
        network: A network; prepared networks have other weights, see `PreparedNetwork`.

    Returns:
        The digest in hexadecimal; None if the network has no tensors, or its state contains anything else.
    """
    digest = hashlib.sha256()
    if not network.state_dict():
        return None
    try:
        for part in _list_parts(network):
            digest.update(part)
    except (TypeError, RuntimeError, NotImplementedError):  # such as quantized, sparse or meta tensors
        return None
    return digest.hexdigest()


def _list_parts(network: nn.Module) -> Iterator[bytes | memoryview]:
    for name, value in sorted(network.state_dict().items()):
        if name.rpartition(".")[2] == COUNTER:
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is not a tensor")
        yield f"{name} {value.dtype} {tuple(value.shape)}\n".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def add_tensor_digest(description: Description, network: nn.Module) -> Description:
    """A description with the digest of the weights of its network."""
    return description.model_copy(update={"tensors": digest_tensors(network)})
