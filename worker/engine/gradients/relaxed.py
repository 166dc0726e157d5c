"""Relaxed gradients: ReLU and max pooling let a part of the gradient through that their true derivative blocks.

A ReLU passes no gradient if its input is negative, and max pooling passes the gradient to only one of its inputs. An
ascent along this gradient depends on the masks of one network. If a part of the gradient passes everywhere, the images
are recognized by other networks too. Linear backpropagation does the same to make adversarial examples transferable
(Guo et al. 2020, arXiv 2012.03528). The forward pass does not change.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.gradients.relu import Function, ReLURuleMode

POOL_ARGUMENTS = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")

POOLS: frozenset[Function] = frozenset({functional.max_pool2d, torch.max_pool2d})


@dataclass(frozen=True)
class RelaxedGradient:
    """How much of the blocked gradient passes; 0 and 0 is the true gradient.

    Attributes:
        leak: Derivative of a ReLU where its input is negative, 0 to 1.
        spread: Weight of average pooling's gradient in that of max pooling, 0 to 1.
    """

    leak: float = 0.0
    spread: float = 0.0

    def derivatives(self) -> AbstractContextManager[Any]:
        """Returns a context in which ReLU and max pooling have relaxed derivatives and their usual outputs."""
        return _RelaxedMode(self.leak, self.spread) if self.leak or self.spread else nullcontext()


PLAIN = RelaxedGradient()
"""The true gradient."""


class _RelaxedMode(ReLURuleMode):
    """Gives ReLUs and max pooling their relaxed derivatives."""

    def __init__(self, leak: float, spread: float) -> None:
        super().__init__(partial(_leak_backward, leak=leak) if leak else None)
        self._spread = spread

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._spread and func in POOLS:
            return self._pool(func, args, kwargs or {})
        return super().__torch_function__(func, types, args, kwargs)

    def _pool(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arguments = dict(zip(POOL_ARGUMENTS, args, strict=False)) | kwargs
        if arguments.get("return_indices") or _pair(arguments.get("dilation") or 1) != [1, 1]:
            return func(*args, **kwargs)
        kernel = _pair(arguments["kernel_size"])
        stride, padding = _pair(arguments.get("stride") or kernel), _pair(arguments.get("padding") or 0)
        shape = (kernel, stride, padding, bool(arguments.get("ceil_mode")))
        return _SpreadMaxPool.apply(arguments["input"], shape, self._spread)  # type: ignore[no-untyped-call]


def _leak_backward(signal: Tensor, kept: Tensor, ceiling: float | None, *, leak: float) -> Tensor:
    """Passes `leak` · signal where the ReLU is saturated, and the signal elsewhere."""
    passed: Tensor = torch.ops.aten.leaky_relu_backward(signal, kept, leak, False)
    if ceiling is not None:
        passed = torch.where(kept < ceiling, passed, signal * leak)
    return passed


class _SpreadMaxPool(torch.autograd.Function):
    """Max pooling whose gradient is interpolated between those of max pooling and average pooling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[list[int], list[int], list[int], bool], spread: float) -> Tensor:
        kernel, stride, padding, ceil = shape
        y, indices = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride, padding, [1, 1], ceil)
        ctx.save_for_backward(x, indices)
        ctx.shape, ctx.spread = shape, spread
        return cast("Tensor", y)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        x, indices = ctx.saved_tensors
        kernel, stride, padding, ceil = ctx.shape
        largest = torch.ops.aten.max_pool2d_with_indices_backward(
            signal, x, kernel, stride, padding, [1, 1], ceil, indices
        )
        mean = torch.ops.aten.avg_pool2d_backward(signal, x, kernel, stride, padding, ceil, True, None)
        return torch.lerp(largest, mean, ctx.spread), None, None


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]
