"""Recognises ReLUs, however a network calls them: modules, functions, methods, in place, reused, exported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[..., Any]

ATEN = torch.ops.aten

IN_PLACE: frozenset[Function] = frozenset({torch.relu_, functional.relu_, Tensor.relu_, ATEN.relu_.default})
RELUS: frozenset[Function] = IN_PLACE | {functional.relu, torch.relu, Tensor.relu, ATEN.relu.default}
CAPPED: frozenset[Function] = frozenset({functional.relu6})
CLIPPED: frozenset[Function] = frozenset({functional.hardtanh, ATEN.hardtanh.default, ATEN.hardtanh_.default})


@dataclass(frozen=True)
class ReLU:
    """One of them.

    Attributes:
        ceiling: What it lets through at most, as 6 in a ReLU6.
        in_place: It writes over what it is given.
    """

    ceiling: float | None
    in_place: bool

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp_(0, self.ceiling) if self.in_place else x.clamp(0, self.ceiling)


def read_relu(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, ReLU] | None:
    """What a ReLU is given (N, …), and which it is; None where the call is of something else."""
    if function in CLIPPED:
        given = dict(zip(("input", "min_val", "max_val", "inplace"), args, strict=False)) | dict(kwargs)
        if given.get("min_val", -1.0) != 0:
            return None
        in_place = given.get("inplace", False) or function is ATEN.hardtanh_.default
        return _input(given), ReLU(given.get("max_val", 1.0), in_place)
    if function not in RELUS and function not in CAPPED:
        return None
    given = dict(zip(("input", "inplace"), args, strict=False)) | dict(kwargs)
    in_place = function in IN_PLACE or given.get("inplace", False)
    return _input(given), ReLU(6.0 if function in CAPPED else None, in_place)


def _input(given: Mapping[str, Any]) -> Tensor:
    x: Tensor = given["input"] if "input" in given else given["self"]
    return x
