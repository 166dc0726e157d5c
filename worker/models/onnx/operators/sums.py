"""Operators that combine values: products of matrices, reductions, norms."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from worker.models.onnx.operators.call import Call, Operation, Unsupported


def _gemm(call: Call, first: Tensor, second: Tensor, third: Tensor | None = None) -> Tensor:
    left = first.transpose(0, 1) if call.get("transA", 0) else first
    right = second.transpose(0, 1) if call.get("transB", 0) else second
    product: Tensor = left @ right * call.get("alpha", 1.0)
    return product if third is None else product + third * call.get("beta", 1.0)


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operation:
    def run(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = call.numbers("axes", axes)
        if not chosen and call.get("noop_with_empty_axes", 0):
            return values
        return function(values, chosen or list(range(values.ndim)), bool(call.get("keepdims", 1)))

    return run


def _multiply_all(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % values.ndim for axis in axes), reverse=True):
        values = values.prod(axis, keepdim=keep)
    return values


def _largest(function: Callable[..., Tensor]) -> Operation:
    def run(call: Call, values: Tensor) -> Tensor:
        if call.get("select_last_index", 0):
            raise Unsupported("the last of several largest values")
        return function(values, dim=call.get("axis", 0), keepdim=bool(call.get("keepdims", 1)))

    return run


def _batch_norm(call: Call, values: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if call.get("training_mode", 0):
        raise Unsupported("a batch norm in training mode")
    return functional.batch_norm(values, mean, variance, scale, bias, eps=call.get("epsilon", 1e-5))


def _instance_norm(call: Call, values: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(values, weight=scale, bias=bias, eps=call.get("epsilon", 1e-5))


def _layer_norm(call: Call, values: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    if call.outputs > 1:
        raise Unsupported("the statistics of a layer norm")
    shape = values.shape[call.get("axis", -1) % values.ndim :]
    weight = scale.expand(shape)
    offset = None if bias is None else bias.expand(shape)
    return functional.layer_norm(values, shape, weight, offset, call.get("epsilon", 1e-5))


def _rms_norm(call: Call, values: Tensor, scale: Tensor) -> Tensor:
    shape = values.shape[call.get("axis", -1) % values.ndim :]
    return functional.rms_norm(values, list(shape), scale.expand(shape), call.get("epsilon", 1e-5))


def _group_norm(call: Call, values: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, channels = call.get("num_groups"), values.shape[1]
    if len(scale) == groups != channels:  # before version 21, for each group
        scale, bias = scale.repeat_interleave(channels // groups), bias.repeat_interleave(channels // groups)
    return functional.group_norm(values, groups, scale, bias, call.get("epsilon", 1e-5))


def _response_norm(call: Call, values: Tensor) -> Tensor:
    return functional.local_response_norm(
        values, call.get("size"), call.get("alpha", 1e-4), call.get("beta", 0.75), call.get("bias", 1.0)
    )


def _p_norm(call: Call, values: Tensor) -> Tensor:
    norm: Tensor = values.norm(call.get("p", 2), dim=call.get("axis", -1), keepdim=True)
    return values / torch.where(norm == 0, 1, norm)


def _sum_up(call: Call, values: Tensor, axis: Tensor) -> Tensor:
    if call.get("exclusive", 0) or call.get("reverse", 0):
        raise Unsupported("a cumulative sum that is exclusive or reverse")
    return values.cumsum(int(axis.item()))


SUMS: dict[str, Operation] = {
    "ArgMax": _largest(torch.argmax),
    "ArgMin": _largest(torch.argmin),
    "BatchNormalization": _batch_norm,
    "CumSum": _sum_up,
    "Einsum": lambda call, *values: torch.einsum(call.get("equation"), *values),
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LRN": _response_norm,
    "LpNormalization": _p_norm,
    "MatMul": lambda _call, first, second: first @ second,
    "RMSNormalization": _rms_norm,
    "ReduceL1": _reduce(lambda values, axes, keep: values.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduce(lambda values, axes, keep: values.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceLogSum": _reduce(lambda values, axes, keep: values.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(lambda values, axes, keep: values.mean(axes, keepdim=keep)),
    "ReduceMin": _reduce(torch.amin),
    "ReduceProd": _reduce(_multiply_all),
    "ReduceSum": _reduce(lambda values, axes, keep: values.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _reduce(lambda values, axes, keep: values.square().sum(axes, keepdim=keep)),
}
