"""Checks that the tensors of a file are weights: finite floating-point numbers where the network has such."""

from collections.abc import Iterator, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn

from shared.catalogue.release import Release
from worker.models.architectures import unloadable
from worker.models.checkpoint.fits import Fit
from worker.models.checkpoint.hints import list_names


def check_kinds(fit: Fit, own: Mapping[str, Any], release: Release) -> None:
    """Raises `UnloadableModel` if tensors of a file have types that `load_state_dict` would convert to nonsense."""
    faults = [
        f"{name} is {fault}"
        for name, value in fit.tensors.items()
        if isinstance(value, Tensor)
        for fault in _find_faults(value, own.get(name))
    ]
    if faults:
        raise unloadable(
            release,
            f"the file has values that are not floating-point weights ({list_names(faults)}); save the weights of the "
            "trained network before it is quantized or converted",
        )


def _find_faults(value: Tensor, own: Any) -> Iterator[str]:
    if value.is_quantized:
        yield f"quantized ({_name(value)})"
    elif isinstance(own, Tensor) and value.is_meta:
        yield "without values"
    elif isinstance(own, Tensor) and own.is_floating_point() and not value.is_floating_point():
        yield _name(value)


def _name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def check_values(network: nn.Module, usual: Set[str], release: Release) -> None:
    """Raises `UnloadableModel` if weights or buffers are not finite.

    Args:
        network: The network with its weights.
        usual: Names of buffers that are not finite in the network without its weights, such as masks.
        release: The release.
    """
    tensors = [*network.named_parameters(), *((name, b) for name, b in network.named_buffers() if name not in usual)]
    broken = [name for name, value in tensors if not is_finite(value)]
    if broken:
        raise unloadable(
            release,
            f"{len(broken)} of its weights {'is' if len(broken) == 1 else 'are'} NaN or infinite "
            f"({list_names(broken)}); the training diverged, or the file is damaged",
        )


def is_finite(value: Tensor) -> bool:
    """Returns whether a tensor of any shape has no NaN and no infinity."""
    return not (value.is_floating_point() or value.is_complex()) or bool(torch.isfinite(value).all())
