"""Reads the outputs of named layers while a network runs."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def watch(network: nn.Module, layers: Iterable[str], *, on_path: bool = False) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of layers while the network runs; removes its hooks on exit.

    A layer whose output is not a tensor is left out; see `check_rows`.

    Args:
        network: The network to watch.
        layers: Names of modules of the network.
        on_path: Whether the network goes on with the collected outputs, so that scores have gradients with respect to
            them; otherwise these are copies, and the network runs as without them.

    Yields:
        A dictionary that each forward pass fills with the layers' outputs (N, …) by name, in the order of their calls.

    Raises:
        ValueError: The network has no such layer.
    """
    activations: dict[str, Tensor] = {}
    modules = dict(network.named_modules(remove_duplicate=False))
    with ExitStack() as hooks:
        for layer in layers:
            if layer not in modules:
                raise ValueError(f"the network has no layer {layer!r}")
            hook = modules[layer].register_forward_hook(partial(_collect, activations, layer, on_path))
            hooks.callback(hook.remove)
        yield activations


def _collect(
    activations: dict[str, Tensor], layer: str, on_path: bool, _module: nn.Module, _inputs: Any, output: Any
) -> Tensor | None:
    if not isinstance(output, Tensor):
        return None
    with torch._C.DisableTorchFunction():  # modes that count the calls of the network must not see this one
        activations.pop(layer, None)
        activations[layer] = output.clone()  # the output may be a view of values that the network overwrites
        return activations[layer].clone() if on_path else None  # the network may overwrite what it goes on with


def check_rows(activations: Mapping[str, Tensor], layers: Iterable[str], count: int) -> None:
    """Checks that every layer gave one row per image.

    Args:
        activations: Outputs (N, …) of layers by name, as `watch` collects them.
        layers: Names of the layers that are required.
        count: Number of images.

    Raises:
        ValueError: A layer was not run, or gave no tensor, or its first axis is not the batch.
    """
    for layer in layers:
        if layer not in activations:
            raise ValueError(f"layer {layer!r} does not run in a forward pass, or gives no tensor; name one inside it")
        if activations[layer].ndim < 2 or len(activations[layer]) != count:
            shape = tuple(activations[layer].shape)
            raise ValueError(f"layer {layer!r} gives {shape} for {count} images, not one row per image; name another")
