"""Gentler derivatives: the network computes what it always does, but its gradient is less of a patchwork.

A ReLU masks the gradient wherever it is closed, and a max pooling sends it to one of its inputs: an ascent that follows
such a gradient finds what this one network's masks happen to let through. Letting a part of it through everywhere makes
pictures that other networks recognise too, as "linear backpropagation" does for adversarial examples that are to fool
other networks (Guo et al. 2020, arXiv 2012.03528).
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from worker.engine.relu import Function, ReLU, read_relu

POOL_NAMES = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")

POOLS: frozenset[Function] = frozenset({functional.max_pool2d, torch.max_pool2d})


class _Leaky(torch.autograd.Function):
    """A ReLU, up to 6 if asked, whose derivative is `leak` where it is closed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: ReLU, leak: float) -> Tensor:
        y = relu(x)
        if relu.in_place:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.leak, ctx.ceiling = leak, relu.ceiling
        return y

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        through: Tensor = torch.ops.aten.leaky_relu_backward(slope, y, ctx.leak, False)
        if ctx.ceiling is not None:
            through = torch.where(y < ctx.ceiling, through, slope * ctx.leak)
        return through, None, None


class _Spread(torch.autograd.Function):
    """A max pooling whose derivative is in part that of the mean."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[list[int], list[int], list[int], bool], spread: float) -> Tensor:
        kernel, stride, padding, ceil = shape
        y, places = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride, padding, [1, 1], ceil)
        ctx.save_for_backward(x, places)
        ctx.shape, ctx.spread = shape, spread
        return cast("Tensor", y)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, places = ctx.saved_tensors
        kernel, stride, padding, ceil = ctx.shape
        largest = torch.ops.aten.max_pool2d_with_indices_backward(
            slope, x, kernel, stride, padding, [1, 1], ceil, places
        )
        mean = torch.ops.aten.avg_pool2d_backward(slope, x, kernel, stride, padding, ceil, True, None)
        return torch.lerp(largest, mean, ctx.spread), None, None


@dataclass(frozen=True)
class Gentle:
    """How much gentler.

    Attributes:
        leak: What a closed ReLU lets through, 0 to 1.
        spread: What a max pooling sends back to all of its inputs alike, 0 to 1.
    """

    leak: float = 0.0
    spread: float = 0.0

    def derivatives(self) -> AbstractContextManager[Any]:
        """While this is entered, ReLUs and max poolings have gentler derivatives; values stay as they are."""
        return _GentleMode(self.leak, self.spread) if self.leak or self.spread else nullcontext()


PLAIN = Gentle()


@dataclass
class _GentleMode(TorchFunctionMode):
    leak: float
    spread: float

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.leak and (found := read_relu(func, args, kwargs)):
            return _Leaky.apply(*found, self.leak)  # type: ignore[no-untyped-call]
        if self.spread and func in POOLS:
            return self._pool(func, args, kwargs)
        return func(*args, **kwargs)

    def _pool(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = dict(zip(POOL_NAMES, args, strict=False)) | kwargs
        if given.get("return_indices") or _pair(given.get("dilation") or 1) != [1, 1]:
            return func(*args, **kwargs)
        kernel = _pair(given["kernel_size"])
        stride, padding = _pair(given.get("stride") or kernel), _pair(given.get("padding") or 0)
        shape = (kernel, stride, padding, bool(given.get("ceil_mode")))
        return _Spread.apply(given["input"], shape, self.spread)  # type: ignore[no-untyped-call]


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]
