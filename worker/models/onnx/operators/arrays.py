"""Operators that change the shape of an array, or choose parts of it."""

from typing import Any

import torch
from torch import Tensor

from worker.models.onnx.operators.call import Call, Operation, Unsupported, list_numbers, move_together


def _reshape(call: Call, values: Tensor, shape: Tensor | None = None) -> Tensor:
    wanted = call.numbers("shape", shape) or []
    if not call.get("allowzero", 0):  # 0 means the length of the input
        wanted = [values.shape[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    return torch.reshape(values, wanted)


def _flatten(call: Call, values: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    if axis == 1:
        return values.flatten(1)
    axis %= values.ndim + 1
    rows = 1
    for length in values.shape[:axis]:
        rows *= length
    return values.reshape(rows, -1)


def _transpose(call: Call, values: Tensor) -> Tensor:
    return values.permute(call.get("perm", list(reversed(range(values.ndim)))))


def _concatenate(call: Call, *parts: Tensor) -> Tensor:
    """Joins arrays. One row, such as a class token of an export with one image, is repeated for each image."""
    parts = move_together(*parts)
    axis, rows = call.get("axis", 1), max(part.shape[0] for part in parts)
    if axis % parts[0].ndim and rows > 1:
        parts = tuple(part.expand(rows, *part.shape[1:]) if part.shape[0] == 1 else part for part in parts)
    return torch.cat(parts, dim=axis)


def _split(call: Call, values: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = call.get("axis", 0)
    lengths: Any = call.numbers("split", sizes)
    if lengths is None:
        count = call.get("num_outputs", call.outputs)
        lengths = -(-values.shape[axis] // count)
    return torch.split(values, lengths, dim=axis)


def _slice(
    call: Call,
    values: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first, last = call.numbers("starts", starts) or [], call.numbers("ends", ends) or []
    places = call.numbers("axes", axes) or list(range(len(first)))
    widths = call.numbers("steps", steps) or [1] * len(first)
    for start, end, axis, step in zip(first, last, places, widths, strict=True):
        values = _cut(values, axis, range(*slice(start, end, step).indices(values.shape[axis])))
    return values


def _cut(values: Tensor, axis: int, places: range) -> Tensor:
    if places.step > 0 and len(places):
        window = values.narrow(axis, places.start, places[-1] - places.start + 1)
        every = [slice(None)] * values.ndim
        every[axis % values.ndim] = slice(None, None, places.step)
        return window if places.step == 1 else window[tuple(every)]
    return values.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=values.device))


def _squeeze(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = call.numbers("axes", axes)
    return values.squeeze() if chosen is None else values.squeeze(tuple(chosen))


def _unsqueeze(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = call.numbers("axes", axes) or []
    ndim = values.ndim + len(chosen)
    for axis in sorted(axis % ndim for axis in chosen):
        values = values.unsqueeze(axis)
    return values


def _expand(_call: Call, values: Tensor, shape: Tensor) -> Tensor:
    wanted = list_numbers(shape)
    return values.expand(torch.broadcast_shapes(values.shape, wanted))


def _gather(call: Call, values: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0) % values.ndim
    places = indices.to(values.device, torch.int64)
    places = torch.where(places < 0, places + values.shape[axis], places)
    chosen = values.index_select(axis, places.reshape(-1))
    return chosen.reshape((*values.shape[:axis], *places.shape, *values.shape[axis + 1 :]))


def _gather_elements(call: Call, values: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0)
    places = indices.to(values.device, torch.int64)
    return values.gather(axis, torch.where(places < 0, places + values.shape[axis], places))


def _scatter(call: Call, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if call.get("reduction", "none") != "none":
        raise Unsupported("a scatter with a reduction")
    places = indices.to(values.device, torch.int64)
    return values.index_put(tuple(places[..., axis] for axis in range(places.shape[-1])), updates)


def _shape(call: Call, values: Tensor) -> Tensor:
    return torch.tensor(list(values.shape)[call.get("start", 0) : call.get("end")], dtype=torch.int64)


def _constant(call: Call) -> Tensor:
    for name, value in call.attributes.items():
        if name == "value":
            return torch.as_tensor(value)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
    raise Unsupported("a constant of another type")


def _constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    value = torch.as_tensor(call.get("value", torch.zeros(1))).reshape(-1)
    return value.expand(torch.Size(list_numbers(shape))) if shape.numel() else value[0]


def _range(_call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _tile(_call: Call, values: Tensor, repeats: Tensor) -> Tensor:
    return values.repeat(list_numbers(repeats))


def _depth_to_space(call: Call, values: Tensor) -> Tensor:
    block = call.get("blocksize")
    count, channels, height, width = values.shape
    if call.get("mode", "DCR") == "CRD":
        return torch.pixel_shuffle(values, block)
    grid = values.reshape(count, block, block, channels // block**2, height, width)
    return grid.permute(0, 3, 4, 1, 5, 2).reshape(count, channels // block**2, height * block, width * block)


def _space_to_depth(call: Call, values: Tensor) -> Tensor:
    block = call.get("blocksize")
    count, channels, height, width = values.shape
    grid = values.reshape(count, channels, height // block, block, width // block, block)
    return grid.permute(0, 3, 5, 1, 2, 4).reshape(count, channels * block**2, height // block, width // block)


def _triangle(call: Call, values: Tensor, diagonal: Tensor | None = None) -> Tensor:
    offset = 0 if diagonal is None else int(diagonal.item())
    return torch.triu(values, offset) if call.get("upper", 1) else torch.tril(values, offset)


def _same(_call: Call, values: Tensor, *_: Any) -> Tensor:
    return values


ARRAYS: dict[str, Operation] = {
    "Concat": _concatenate,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": _same,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Identity": _same,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterND": _scatter,
    "Shape": _shape,
    "Size": lambda _call, values: torch.tensor(values.numel()),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
