"""Finds what a network does to its class scores after it has computed them: a final ReLU, a softmax.

The class model climbs the score before the softmax (Simonyan et al. 2013, section 2: the probability can also rise by
pushing the other classes down). A ReLU after the scores, as in SqueezeNet, is worse: where it clamps, the gradient is
zero for ever. Both are found by watching one forward pass, and skipped in later ones; modules, functions, methods and
in-place forms are all the same to a function mode, and nothing is ever put on the network.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]

CLAMPS: frozenset[Function] = frozenset(
    {
        functional.relu, functional.relu_, functional.relu6, functional.hardtanh, functional.threshold,
        torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_,
    }
)  # fmt: skip
"""Functions with a zero gradient on half of the line."""

PROBABILITIES: frozenset[Function] = frozenset(
    {
        functional.softmax, functional.log_softmax, functional.sigmoid, functional.logsigmoid, torch.softmax,
        torch.log_softmax, torch.sigmoid, Tensor.softmax, Tensor.log_softmax, Tensor.sigmoid,
    }
)  # fmt: skip
"""Functions that turn scores into probabilities."""

PARAMETRISED: frozenset[Function] = frozenset(
    {
        functional.linear, functional.conv1d, functional.conv2d, functional.conv3d, functional.batch_norm,
        functional.layer_norm, functional.group_norm, functional.instance_norm, functional.scaled_dot_product_attention,
        torch.conv2d, torch.matmul, torch.bmm, torch.addmm, torch.einsum, Tensor.matmul, Tensor.__matmul__, Tensor.bmm,
    }
)  # fmt: skip
"""Functions after which features are still being computed: what comes before the last of them is no tail."""


@dataclass(frozen=True)
class Tail:
    """Which calls of squashing functions, counted over one forward pass, belong to the tail."""

    clamps: frozenset[int] = frozenset()
    probabilities: frozenset[int] = frozenset()


@dataclass
class _Watcher(TorchFunctionMode):
    """Notes the squashing calls since the last parametrised one."""

    count: int = 0
    clamps: set[int] = field(default_factory=set)
    probabilities: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PARAMETRISED:
            self.clamps.clear()
            self.probabilities.clear()
        elif func in CLAMPS:
            self.clamps.add(self.count)
        elif func in PROBABILITIES:
            self.probabilities.add(self.count)
        self.count += func in CLAMPS or func in PROBABILITIES
        return func(*args, **(kwargs or {}))


@dataclass
class _Skipper(TorchFunctionMode):
    """Lets the named squashing calls return what they were given."""

    skipped: frozenset[int]
    count: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CLAMPS or func in PROBABILITIES:
            self.count += 1
            if self.count - 1 in self.skipped:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def find_tail(network: nn.Module, inputs: Tensor) -> Tail:
    """Watches one forward pass of `inputs` (N, C, H, W) through a network in eval mode."""
    with _Watcher() as watcher:
        network(inputs)
    return Tail(frozenset(watcher.clamps), frozenset(watcher.probabilities))


def run_without(network: nn.Module, inputs: Tensor, skipped: frozenset[int]) -> Any:
    """The network's output with the named squashing calls left out."""
    if not skipped:
        return network(inputs)
    with _Skipper(skipped):
        return network(inputs)
