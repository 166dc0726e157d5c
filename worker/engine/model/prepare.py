"""Prepares a network for many passes: batch norms folded into convolutions, channels-last memory layout.

Both leave the function unchanged in most networks. A prepared network is compared with the original on random images
before it is used; if scores or gradients differ by more than rounding, the original is used.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.model.folding import fold_batch_norms
from worker.engine.model.network_call import NetworkError, call_network, compute_gradients
from worker.engine.scores.outputs import agree, list_outputs

TOLERANCE = 1e-3
"""Largest relative difference of outputs: rounding in a deep network gives 1e-4 where terms cancel."""

GRADIENT_TOLERANCE = 2e-2
"""Largest difference of gradients, relative, as a Euclidean norm: a ReLU near 0 may switch by rounding."""


@dataclass(frozen=True)
class PreparedNetwork:
    """A network that is ready for many passes.

    Attributes:
        network: Runs the passes.
        original: The network with the layers as its author wrote them; `network` itself if nothing was folded.
        folded: Names of the layers whose outputs in `network` are not those of `original`.
        steps: What was done, for reports: `folded` and `channels_last`.
    """

    network: nn.Module
    original: nn.Module
    folded: frozenset[str] = frozenset()
    steps: tuple[str, ...] = ()


def prepare(network: nn.Module, device: torch.device, inputs: Tensor, *, fold: bool = True) -> PreparedNetwork:
    """Prepares a network for many passes.

    Args:
        network: Any network; it is moved to the device and frozen.
        device: Device of the network.
        inputs: Normalized images (N, C, H, W), on which the prepared network is compared with the original, together
            and the first one alone.
        fold: Whether batch norms may be folded; not if the scores are the result of a batch norm (`ScoreReader.taps`).

    Returns:
        The network, in eval mode, with batch norms folded and weights in channels-last layout if that changes nothing.
    """
    initialize_vector_functions()
    network.to(device=device).eval().requires_grad_(False)
    move_tensors(network, device)
    inputs = inputs.to(device)
    expected = run_probe(network, inputs)
    if expected is None:
        return PreparedNetwork(network, network)
    folded = fold_batch_norms(network) if fold else None
    # Convolutions run about 1.5 times as fast in this layout, on a CPU and on a GPU.
    for layout in (torch.channels_last, torch.contiguous_format):
        steps = ("channels_last",) if layout is torch.channels_last else ()
        set_layout(network, layout)
        if folded is not None:
            set_layout(folded.network, layout)
            if is_same(run_probe(folded.network, inputs), expected):
                return PreparedNetwork(folded.network, network, folded.layers, ("folded", *steps))
        if is_same(run_probe(network, inputs), expected):
            return PreparedNetwork(network, network, steps=steps)
    return PreparedNetwork(network, network)


def set_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Sets the memory layout of the weights of convolutions, in place."""
    network.to(memory_format=layout)  # type: ignore[call-overload]


def move_tensors(network: nn.Module, device: torch.device) -> None:
    """Moves tensors that are plain attributes of modules, also in lists and dictionaries; PyTorch leaves them."""
    if device.type == "cpu":
        return
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if not name.startswith("_"):
                object.__setattr__(module, name, _move(value, device))


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (list, tuple):
        return type(value)(_move(part, device) for part in value)
    return {key: _move(part, device) for key, part in value.items()} if type(value) is dict else value


@dataclass(frozen=True)
class _Result:
    """The outputs (…) of a network for several images and for one, and a gradient (N, C, H, W) if it has one."""

    outputs: list[Tensor]
    gradient: Tensor | None


def run_probe(network: nn.Module, inputs: Tensor) -> _Result | None:
    """Runs a network on images (N, C, H, W), forward and backward; None if it raises an exception."""
    leaf = inputs.detach().clone().requires_grad_()
    try:
        several = _run(network, leaf)
    except NetworkError:
        return None
    outputs = [value.detach().float() for value in (*several, *_run_alone(network, inputs))]
    reached = [value for value in several if value.requires_grad]
    total = sum((_weigh(value) for value in reached), torch.zeros((), device=inputs.device))
    try:
        return _Result(outputs, compute_gradients(total, [leaf], lenient=True)[0] if reached else None)
    except NetworkError:
        return _Result(outputs, None)


def _run(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    outputs = list_outputs(call_network(network, inputs, inputs.dtype)).values()
    return [value for value in outputs if value.numel() and value.is_floating_point()]


@torch.no_grad()
def _run_alone(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The outputs for the first image; none if the network does not take one image."""
    try:
        return _run(network, inputs[:1])
    except NetworkError:
        return []


def _weigh(values: Tensor) -> Tensor:
    """A sum of outputs (…) in which no two of them cancel."""
    weights = torch.linspace(1, 2, values.numel(), device=values.device).view(values.shape)
    return (values.float() * weights).sum()


def is_same(result: _Result | None, expected: _Result) -> bool:
    """Whether a network gives the outputs and gradients of another one, up to rounding."""
    if result is None or len(result.outputs) != len(expected.outputs):
        return False
    if (result.gradient is None) != (expected.gradient is None):
        return False
    for values, wanted in zip(result.outputs, expected.outputs, strict=True):
        if values.shape != wanted.shape or not torch.equal(values.isfinite(), wanted.isfinite()):
            return False
        if not agree(values, wanted, TOLERANCE):
            return False
    if result.gradient is None or expected.gradient is None:
        return True
    finite = expected.gradient.isfinite()
    difference = float((result.gradient - expected.gradient)[finite].norm())
    return difference <= GRADIENT_TOLERANCE * max(float(expected.gradient[finite].norm()), 1e-12)


def initialize_vector_functions() -> None:
    """Calls MKL's vector functions once, from one thread.

    They choose their kernels at the first call. In one of forty processes, two threads made the first call together
    and chose different kernels: half of a tensor was rounded differently, and the same request gave other bytes.
    """
    one = torch.ones(1)
    for function in (torch.sqrt, torch.exp, torch.log, torch.sin, torch.cos, torch.tanh):
        function(one)
