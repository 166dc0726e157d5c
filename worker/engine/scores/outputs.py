"""Tensors in what a network returns: finds them, converts them to rows, and compares them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from worker.engine.model.network_call import NetworkError

SMALLEST_SCALE = 1e-3
"""Differences of smaller outputs are relative to this value."""

MAX_DEPTH = 4
"""How deep outputs are looked for in containers."""


def to_rows(values: Tensor) -> Tensor:
    """Converts a tensor (N,), (N, K) or (N, K, …) to rows (N, K) in float32: the mean over all positions."""
    if values.ndim == 1:
        return values[:, None].float()
    # Contiguous: a mean along another memory layout is rounded differently in a batch of another size.
    return values.float().contiguous().flatten(2).mean(2) if values.ndim > 2 else values.float()


def agree(values: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Tells whether outputs are equal up to rounding.

    Each difference is relative to the wanted value, or to the median of all if that is larger: a score of −10⁹, by
    which some networks mask a class, must not hide the differences of others.

    Args:
        values: Outputs (…).
        wanted: Outputs (…); where these are not finite, the others are not compared.
        tolerance: Largest relative difference.
    """
    if values.shape != wanted.shape:
        return False
    finite = wanted.isfinite()
    if not finite.any():
        return True
    wanted, values = wanted[finite], values[finite]
    scale = wanted.abs().clamp_min(max(float(wanted.abs().median()), SMALLEST_SCALE))
    return bool(((values - wanted).abs() <= tolerance * scale).all())


def list_outputs(output: Any, prefix: str = "") -> dict[str, Tensor]:
    """Lists the tensors (N, …) in what a network returned, by path: "" for a tensor itself, else "1" or "logits"."""
    if isinstance(output, Tensor):
        return {prefix: output}
    if prefix.count(".") >= MAX_DEPTH:
        return {}
    found: dict[str, Tensor] = {}
    for name, part in _list_parts(output).items():
        if not isinstance(part, str | bytes | int | float | bool | None):
            found |= list_outputs(part, f"{prefix}.{name}" if prefix else str(name))
    return found


def _list_parts(output: Any) -> dict[Any, Any]:
    """The parts of a container by name."""
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, tuple | list):
        return {str(number): part for number, part in enumerate(output)}
    return vars(output) if hasattr(output, "__dict__") else {}


def pick_output(output: Any, path: str | None) -> Tensor:
    """Returns the tensor (N, …) at a path of what a network returned.

    Raises:
        NetworkError: There is no tensor at the path.
    """
    if path is None and isinstance(output, Tensor):
        return output
    found = list_outputs(output)
    if (path or "") not in found:
        raise NetworkError(f"the network returned no tensor at {path!r}")
    return found[path or ""]
