"""Deconvolution networks and guided backpropagation: other ways back through a ReLU.

With R the signal that arrives from above and x what the ReLU was given, the gradient passes R · 1(x > 0), a DeconvNet
R · 1(R > 0), and guided backpropagation both masks at once; all other layers are those of the gradient (Simonyan et al.
2013, arXiv 1312.6034, section 4; Zeiler and Fergus 2013, arXiv 1311.2901; Springenberg et al. 2014, arXiv 1412.6806).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from worker.engine.classifier import Classifier
from worker.engine.relu import Function, ReLU, read_relu
from worker.engine.saliency.gradient import gradient


class _Rectified(torch.autograd.Function):
    """A ReLU that lets only positive signals back, where it was open if that is asked for too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: ReLU, only_open: bool) -> Tensor:
        y = relu(x)
        if relu.in_place:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.ceiling, ctx.only_open = relu.ceiling, only_open
        return y

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        signal = signal.clamp(min=0)
        if ctx.only_open:
            signal = signal * ((y > 0) if ctx.ceiling is None else (y > 0) & (y < ctx.ceiling))
        return signal, None, None


@dataclass
class _RectifiedMode(TorchFunctionMode):
    only_open: bool
    count: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = read_relu(func, args, kwargs or {})
        if found is None:
            return func(*args, **(kwargs or {}))
        self.count += 1
        return _Rectified.apply(*found, self.only_open)  # type: ignore[no-untyped-call]


def _rectified(classifier: Classifier, inputs: Tensor, targets: Tensor, *, only_open: bool) -> Tensor:
    with _RectifiedMode(only_open) as mode:
        slope = gradient(classifier, inputs, targets)
    if not mode.count:
        raise ValueError(
            "the network has no ReLU, and without one deconvnet and guided are the gradient; ask for kind gradient"
        )
    return slope


def deconvnet(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """The signal that a DeconvNet sends back from the class score (N, C, H, W).

    Raises:
        ValueError: The network has no ReLU.
    """
    return _rectified(classifier, inputs, targets, only_open=False)


def guided(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """Guided backpropagation from the class score (N, C, H, W).

    Raises:
        ValueError: The network has no ReLU.
    """
    return _rectified(classifier, inputs, targets, only_open=True)
