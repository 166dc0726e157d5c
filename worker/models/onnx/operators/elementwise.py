"""Operators that work value by value: arithmetic, comparisons, activations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from worker.models.onnx.operators.call import Call, Operation, Unsupported, move_together

FLOATS = {1, 10, 11, 16}
"""Numbers of the types float, float16, double and bfloat16 (onnx.TensorProto)."""

TYPES = {
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
}


def _one(function: Callable[[Tensor], Tensor]) -> Operation:
    return lambda _call, values: function(values)


def _several(function: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """An operator of two or more inputs."""

    def run(_call: Call, *inputs: Tensor) -> Tensor:
        first, *others = move_together(*inputs)
        for other in others:
            first = function(first, other)
        return first

    return run


def _divide(first: Tensor, second: Tensor) -> Tensor:
    whole = not (first.is_floating_point() or second.is_floating_point())
    return torch.div(first, second, rounding_mode="trunc" if whole else None)


def _mean(call: Call, *inputs: Tensor) -> Tensor:
    total: Tensor = _several(torch.add)(call, *inputs)
    return total / len(inputs)


def _modulo(call: Call, first: Tensor, second: Tensor) -> Tensor:
    first, second = move_together(first, second)
    return torch.fmod(first, second) if call.get("fmod", 0) else torch.remainder(first, second)


def _clip(call: Call, values: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    limits = (call.get("min") if low is None else low.item(), call.get("max") if high is None else high.item())
    if limits == (0, 6):
        return functional.relu6(values)  # whose rule methods such as guided backpropagation know
    return values if limits == (None, None) else torch.clamp(values, limits[0], limits[1])


def _cast(call: Call, values: Tensor) -> Tensor:
    """Converts to another type. Floats stay as they are: the network chooses their precision."""
    kind = call.get("to")
    if kind in FLOATS:
        return values if values.is_floating_point() else values.to(torch.get_default_dtype())
    if kind not in TYPES:
        raise Unsupported(f"a conversion to the type {kind}")
    return values.to(TYPES[kind])


def _cast_like(_call: Call, values: Tensor, other: Tensor) -> Tensor:
    return values if values.is_floating_point() and other.is_floating_point() else values.to(other.dtype)


def _p_relu(_call: Call, values: Tensor, slope: Tensor) -> Tensor:
    return torch.where(values >= 0, values, values * slope)


def _selu(call: Call, values: Tensor) -> Tensor:
    alpha, gamma = call.get("alpha", 1.6732632423543772), call.get("gamma", 1.0507009873554805)
    scaled: Tensor = gamma * functional.elu(values, alpha)
    return scaled


def _hard_sigmoid(call: Call, values: Tensor) -> Tensor:
    return torch.clamp(values * call.get("alpha", 0.2) + call.get("beta", 0.5), 0, 1)


def _gelu(call: Call, values: Tensor) -> Tensor:
    return functional.gelu(values, approximate=call.get("approximate", "none"))


def _softmax(function: Callable[..., Tensor]) -> Operation:
    def run(call: Call, values: Tensor) -> Tensor:
        if call.opset >= 13:
            return function(values, dim=call.get("axis", -1))
        axis = call.get("axis", 1) % values.ndim  # it and all axes after it are one
        if axis == values.ndim - 1:
            return function(values, dim=axis)
        return function(values.flatten(axis), dim=axis).reshape(values.shape)

    return run


def _where(_call: Call, condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    condition, first, second = move_together(condition, first, second)
    return torch.where(condition, first, second)


def _scaled(function: Callable[..., Tensor], **defaults: Any) -> Operation:
    """An activation whose attributes have the names of the arguments of the function, or those in `defaults`."""

    def run(call: Call, values: Tensor) -> Tensor:
        return function(values, *(call.get(name, default) for name, default in defaults.items()))

    return run


ELEMENTWISE: dict[str, Operation] = {
    "Abs": _one(torch.abs),
    "Add": _several(torch.add),
    "And": _several(torch.logical_and),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _one(torch.ceil),
    "Celu": _scaled(functional.celu, alpha=1.0),
    "Clip": _clip,
    "Cos": _one(torch.cos),
    "Div": _several(_divide),
    "Elu": _scaled(functional.elu, alpha=1.0),
    "Equal": _several(torch.eq),
    "Erf": _one(torch.erf),
    "Exp": _one(torch.exp),
    "Floor": _one(torch.floor),
    "Gelu": _gelu,
    "Greater": _several(torch.gt),
    "GreaterOrEqual": _several(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _one(functional.hardswish),
    "IsNaN": _one(torch.isnan),
    "LeakyRelu": _scaled(functional.leaky_relu, alpha=0.01),
    "Less": _several(torch.lt),
    "LessOrEqual": _several(torch.le),
    "Log": _one(torch.log),
    "LogSoftmax": _softmax(functional.log_softmax),
    "Max": _several(torch.maximum),
    "Mean": _mean,
    "Min": _several(torch.minimum),
    "Mish": _one(functional.mish),
    "Mod": _modulo,
    "Mul": _several(torch.mul),
    "Neg": _one(torch.neg),
    "Not": _one(torch.logical_not),
    "Or": _several(torch.logical_or),
    "PRelu": _p_relu,
    "Pow": _several(torch.pow),
    "Reciprocal": _one(torch.reciprocal),
    "Relu": _one(functional.relu),
    "Round": _one(torch.round),
    "Selu": _selu,
    "Sigmoid": _one(torch.sigmoid),
    "Sign": _one(torch.sign),
    "Sin": _one(torch.sin),
    "Softmax": _softmax(functional.softmax),
    "Softplus": _one(functional.softplus),
    "Softsign": _one(functional.softsign),
    "Sqrt": _one(torch.sqrt),
    "Sub": _several(torch.sub),
    "Sum": _several(torch.add),
    "Swish": lambda call, values: values * torch.sigmoid(call.get("alpha", 1.0) * values),
    "Tanh": _one(torch.tanh),
    "ThresholdedRelu": lambda call, values: torch.where(values > call.get("alpha", 1.0), values, 0),
    "Where": _where,
}
