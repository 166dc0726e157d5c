"""Recognizes the ReLUs of a network, replaces their backward pass, and counts the activations that are no ReLUs.

A network calls a ReLU as a module, a function, a method, in place, repeatedly, as an operator of an exported graph, or
writes it as `clamp(min=0)`, `maximum(x, 0)`, `threshold(x, 0, 0)`, `where(x > 0, x, 0)` or `x * (x > 0)`. A
`TorchFunctionMode` sees all of these as function calls, so no hook has to be put on the network.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]

BackwardRule = Callable[[Tensor, Tensor, float | None], Tensor]
"""Computes the signal at a ReLU's input.

Takes the signal that arrives at the output (N, …), the input x or the output y of the ReLU (N, …), and the upper limit
of y (None if there is no limit). Where x lies between 0 and the limit, so does y, and nowhere else. Returns the signal
at x (N, …).
"""

RELUS: Mapping[str, tuple[str, ...]] = {
    "relu": ("input", "inplace"),
    "relu6": ("input", "inplace"),
    "leaky_relu": ("input", "negative_slope", "inplace"),
    "hardtanh": ("input", "min_val", "max_val", "inplace"),
    "threshold": ("input", "threshold", "value", "inplace"),
    "clamp": ("input", "min", "max"),
    "clip": ("input", "min", "max"),
    "clamp_min": ("input", "min"),
    "maximum": ("input", "other"),
    "max": ("input", "other"),
    "where": ("condition", "input", "other"),
    "mul": ("input", "other"),
    "masked_fill": ("input", "mask", "value"),
}
"""Functions that are a ReLU for some arguments: the names of their arguments, by the name of the function."""

ACTIVATIONS: frozenset[str] = frozenset(
    {
        "celu", "elu", "erf", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
        "log_sigmoid", "logsigmoid", "mish", "prelu", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink",
        "softsign", "special_expit", "tanh", "tanhshrink", "threshold",
    }
)  # fmt: skip
"""Names of other activation functions. Softmax is left out: it is a weighting, or the end of a network."""

COMPARISONS: Mapping[str, bool] = {"gt": True, "ge": True, "lt": False, "le": False}
"""Whether the result of a comparison with zero is true where a ReLU is open."""

CASTS = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as", "_to_copy"})


@dataclass(frozen=True)
class ReLU:
    """A call that is a ReLU: y = min(max(x, 0), ceiling).

    Attributes:
        x: The input (N, …).
        ceiling: Upper limit of the output, such as 6 for ReLU6; None for no limit.
        in_place: Whether the call overwrites its input.
        keeps: The tensor that autograd itself keeps for the backward pass of this call, so that the network does not
            change it: the `input`, the `output`, or `neither`.
    """

    x: Tensor
    ceiling: float | None = None
    in_place: bool = False
    keeps: str = "input"


class _ReLUWithRule(torch.autograd.Function):
    """A ReLU whose backward pass is a `BackwardRule`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: ReLU, rule: BackwardRule) -> Tensor:
        y = x.clamp_(0, relu.ceiling) if relu.in_place else x.clamp(0, relu.ceiling)
        if relu.in_place:
            ctx.mark_dirty(x)
        # The network may overwrite every tensor that autograd does not need: of those, a copy is kept.
        kept = {"input": x, "output": y}.get(relu.keeps)
        ctx.save_for_backward(y.clone() if kept is None else kept)
        ctx.ceiling, ctx.rule = relu.ceiling, rule
        return y

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return ctx.rule(signal, kept, ctx.ceiling), None, None


@dataclass
class ActivationCounts:
    """The calls of activations in the forward passes that led to a gradient.

    Attributes:
        with_rule: Calls of ReLUs, which had the backward rule.
        without_rule: Calls of other activations, by the name of the function.
    """

    with_rule: int = 0
    without_rule: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All calls."""
        return self.with_rule + self.without_rule.total()


class ReLURuleMode(TorchFunctionMode):
    """Gives every ReLU the same backward rule while it is entered; outputs stay the same.

    Attributes:
        counts: The calls of activations so far.
    """

    def __init__(self, rule: BackwardRule | None) -> None:
        """Creates a mode with a rule; None for the gradient itself."""
        super().__init__()
        self._rule = rule
        self.counts = ActivationCounts()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._rule is None or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        relu = read_relu(func, args, kwargs)
        if relu is not None and relu.x.requires_grad:
            self.counts.with_rule += 1
            return _ReLUWithRule.apply(relu.x, relu, self._rule)  # type: ignore[no-untyped-call]
        result, name = func(*args, **kwargs), name_function(func)
        _remember_comparison(name, args, result)
        if name in ACTIVATIONS and isinstance(result, Tensor) and result.requires_grad:
            self.counts.without_rule[name] += 1
        return result


@lru_cache(maxsize=4096)
def name_function(function: Function) -> str:
    """Names a function without the marks of its variants: `relu` for `Tensor.relu_` and `aten.relu_.default`."""
    name = str(getattr(function, "__name__", "")).partition(".")[0]
    return name if name.startswith("__") else name.rstrip("_").removeprefix("_")


def read_relu(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ReLU | None:
    """Recognizes a call that is a ReLU; None if it is none. Leaky variants are none."""
    name = name_function(function)
    if name not in RELUS:
        return None
    given = dict(zip(RELUS[name], args, strict=False)) | dict(kwargs)
    x = given.get("input", given.get("self"))
    in_place = bool(given.get("inplace", False)) or getattr(function, "__name__", "").partition(".")[0].endswith("_")
    if name in ("maximum", "max", "where", "mul"):
        return _read_binary(name, given)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    match name:
        case "relu":
            return ReLU(x, None, in_place, "output")
        case "masked_fill":
            closed = given.get("mask")
            is_relu = _is_zero(given.get("value"), x) and _compares(closed, x, open_where=False)
            return ReLU(x, None, in_place, "neither") if is_relu else None
    limits = _read_limits(name, given)
    return None if limits is None else ReLU(x, limits[0], in_place, "neither" if in_place else "input")


def _read_limits(name: str, given: Mapping[str, Any]) -> tuple[float | None] | None:
    """Returns the upper limit of a call that is a ReLU with its arguments; None if it is none."""
    match name:
        case "relu6":
            return (6.0,)
        case "leaky_relu":
            return (None,) if given.get("negative_slope", 0.01) == 0 else None
        case "threshold":
            return (None,) if given.get("threshold") == 0 and given.get("value") == 0 else None
        case "clamp_min":
            return (None,) if _is_zero(given.get("min")) else None
        case "hardtanh":
            return (float(given.get("max_val", 1.0)),) if given.get("min_val", -1.0) == 0 else None
    highest = given.get("max")
    if not _is_zero(given.get("min")):
        return None
    # A clamp to 0..1 is a gate, or keeps colors in their range.
    return (highest,) if highest is None or (isinstance(highest, int | float) and highest > 1) else None


def _read_binary(name: str, given: Mapping[str, Any]) -> ReLU | None:
    """Recognizes `maximum(x, 0)`, `where(x > 0, x, 0)` and `x * (x > 0)`, with their arguments in any order."""
    first, second = given.get("input", given.get("self")), given.get("other")
    condition = given.get("condition")
    for x, other, is_first in ((first, second, True), (second, first, False)):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            continue
        if name == "mul" and _compares(other, x, open_where=True):
            return ReLU(x, keeps="neither")
        if name == "where" and _compares(condition, x, open_where=is_first) and _is_zero(other, x):
            return ReLU(x, keeps="neither")
        if name in ("maximum", "max") and isinstance(other, Tensor) and _is_zero(other, x):
            return ReLU(x)
    return None


def _is_zero(value: Any, like: Tensor | None = None) -> bool:
    """Whether a number, or a constant tensor that does not enlarge `like` (N, …), is zero."""
    if not isinstance(value, Tensor):
        return isinstance(value, int | float) and value == 0
    if value.requires_grad or (like is not None and value.dtype != like.dtype and value.ndim > 0):
        return False
    fits = like is None or torch.broadcast_shapes(value.shape, like.shape) == like.shape
    return fits and not bool(value.any())


def _remember_comparison(name: str, args: Sequence[Any], result: Any) -> None:
    """Notes on the result of `x > 0` which x it belongs to; a conversion to another type keeps the note."""
    if not args or not isinstance(result, Tensor) or not isinstance(args[0], Tensor):
        return
    if name in COMPARISONS and len(args) == 2 and _is_zero(args[1], args[0]):
        cast("Any", result).compared = (weakref.ref(args[0]), COMPARISONS[name])
    elif name in CASTS and hasattr(args[0], "compared"):
        cast("Any", result).compared = args[0].compared


def _compares(mask: Any, x: Tensor, *, open_where: bool) -> bool:
    """Whether a mask is the result of `x > 0`, or with `open_where` false of `x < 0`."""
    of_x, is_open = getattr(mask, "compared", (lambda: None, None))
    return of_x() is x and is_open == open_where
