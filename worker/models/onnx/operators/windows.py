"""Operators that work on windows of an image: convolutions, pooling, padding, resizing."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from worker.models.onnx.operators.call import Call, Operation, Unsupported, list_numbers

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
PADDINGS = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def find_pads(call: Call, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Returns the padding before each spatial axis, then after each, as ONNX orders it.

    Args:
        call: A convolution or a pooling.
        size: Spatial size of its input.
        kernel: Spatial size of its window.
    """
    count = len(kernel)
    kind = call.get("auto_pad", "NOTSET")
    if kind in ("NOTSET", ""):
        return list(call.get("pads", [0] * 2 * count))
    if kind == "VALID":
        return [0] * 2 * count
    strides, dilations = call.get("strides", [1] * count), call.get("dilations", [1] * count)
    totals = [
        max(0, (math.ceil(length / stride) - 1) * stride + (window - 1) * dilation + 1 - length)
        for length, window, stride, dilation in zip(size, kernel, strides, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if kind == "SAME_UPPER" else [*large, *small]


def to_torch(pads: Sequence[int]) -> list[int]:
    """Orders paddings as `torch.nn.functional.pad` does: before and after the last axis, then the axis before it."""
    count = len(pads) // 2
    return [pads[axis + side * count] for axis in reversed(range(count)) for side in (0, 1)]


def _pad_window(values: Tensor, pads: list[int], fill: float) -> tuple[Tensor, list[int]]:
    """Pads values (N, C, …) if the two sides of an axis differ; else return them with the padding of each axis."""
    count = len(pads) // 2
    if pads[:count] == pads[count:]:
        return values, pads[:count]
    return functional.pad(values, to_torch(pads), value=fill), [0] * count


def _convolve(call: Call, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = weight.ndim - 2
    pads = find_pads(call, values.shape[2:], weight.shape[2:])
    values, padding = _pad_window(values, pads, 0)
    strides, dilations = call.get("strides", [1] * count), call.get("dilations", [1] * count)
    convolve: Any = CONVOLUTIONS[count]
    result: Tensor = convolve(values, weight, bias, strides, padding, dilations, call.get("group", 1))
    return result


def _convolve_transposed(call: Call, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = weight.ndim - 2
    pads = call.get("pads", [0] * 2 * count)
    if call.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in call.attributes:
        raise Unsupported("a transposed convolution with automatic padding")
    if pads[:count] != pads[count:]:
        raise Unsupported("a transposed convolution with other padding on one side")
    strides, dilations = call.get("strides", [1] * count), call.get("dilations", [1] * count)
    more, groups = call.get("output_padding", [0] * count), call.get("group", 1)
    convolve: Any = TRANSPOSED[count]
    result: Tensor = convolve(values, weight, bias, strides, pads[:count], more, groups, dilations)
    return result


def _pool_max(call: Call, values: Tensor) -> Tensor:
    if call.outputs > 1:
        raise Unsupported("the indices of a max pooling")
    kernel = call.get("kernel_shape")
    values, padding = _pad_window(values, find_pads(call, values.shape[2:], kernel), -math.inf)
    halves = [window // 2 for window in kernel]
    if any(pad > half for pad, half in zip(padding, halves, strict=True)):  # PyTorch takes no more than half a window
        values, padding = functional.pad(values, to_torch([*padding, *padding]), value=-math.inf), [0] * len(kernel)
    count = len(kernel)
    strides, dilations = call.get("strides", [1] * count), call.get("dilations", [1] * count)
    pool: Any = MAX_POOLS[count]
    result: Tensor = pool(values, kernel, strides, padding, dilations, bool(call.get("ceil_mode", 0)))
    return result


def _pool_average(call: Call, values: Tensor) -> Tensor:
    kernel, whole = call.get("kernel_shape"), bool(call.get("count_include_pad", 0))
    if any(step != 1 for step in call.get("dilations", [])):
        raise Unsupported("an average pooling with dilations")
    pads = find_pads(call, values.shape[2:], kernel)
    padded, padding = _pad_window(values, pads, 0)
    count = len(kernel)
    strides, ceil = call.get("strides", [1] * count), bool(call.get("ceil_mode", 0))
    pool: Any = AVERAGE_POOLS[count]
    result: Tensor = pool(padded, kernel, strides, padding, ceil, whole)
    if padded is not values and not whole:  # the padding does not count
        ones = functional.pad(torch.ones_like(values[:1, :1]), to_torch(pads))
        result = result / pool(ones, kernel, strides, padding, ceil, whole)
    return result


def _pool_globally(call: Call, values: Tensor) -> Tensor:
    axes = tuple(range(2, values.ndim))
    return values.amax(axes, keepdim=True) if call.operator == "GlobalMaxPool" else values.mean(axes, keepdim=True)


def _pad(
    call: Call,
    values: Tensor,
    pads: Tensor | None = None,
    fill: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    given = call.numbers("pads", pads) or call.numbers("paddings", None) or []
    chosen = list(range(values.ndim)) if axes is None else [axis % values.ndim for axis in list_numbers(axes)]
    count, amounts = len(chosen), [0] * 2 * values.ndim
    for place, axis in enumerate(chosen):
        amounts[axis], amounts[values.ndim + axis] = given[place], given[count + place]
    mode = PADDINGS[call.get("mode", "constant")]
    if mode == "constant":
        return functional.pad(values, to_torch(amounts), value=call.get("value", 0.0) if fill is None else fill.item())
    ordered = to_torch(amounts)
    spatial = ordered[: 2 * (values.ndim - 2)]
    if any(ordered[len(spatial) :]):
        raise Unsupported(f"padding of images or channels in the mode {mode}")
    return functional.pad(values, spatial, mode=mode)


DEFAULT_NEAREST = "round_prefer_floor"


def _resize(
    call: Call,
    values: Tensor,
    _region: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    if call.opset < 11:  # the scales are the second input
        scales = _region
    if sizes is not None and sizes.numel():
        size = list_numbers(sizes)[-2:]
    else:
        factors = call.get("scales") if scales is None else scales.tolist()
        size = [math.floor(length * factor) for length, factor in pair_sides(values.shape, factors)]
    mode, place = call.get("mode", "nearest"), call.get("coordinate_transformation_mode", "half_pixel")
    if call.opset < 11:
        place = "asymmetric"
    if mode == "nearest" and place == "asymmetric" and call.get("nearest_mode", "floor") == "floor":
        return functional.interpolate(values, size=size, mode="nearest")
    if mode == "nearest" and place == "half_pixel" and call.get("nearest_mode", DEFAULT_NEAREST) == DEFAULT_NEAREST:
        return functional.interpolate(values, size=size, mode="nearest-exact")
    torch_mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode)
    if torch_mode is None or place not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise Unsupported(f"a resize in the mode {mode} with {place}")
    return functional.interpolate(values, size=size, mode=torch_mode, align_corners=place == "align_corners")


def pair_sides(shape: Sequence[int], factors: Sequence[float]) -> list[tuple[int, float]]:
    """Returns height and width, each with its factor."""
    return list(zip(shape[-2:], factors[-2:], strict=True))


WINDOWS: dict[str, Operation] = {
    "AveragePool": _pool_average,
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
    "GlobalAveragePool": _pool_globally,
    "GlobalMaxPool": _pool_globally,
    "MaxPool": _pool_max,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
