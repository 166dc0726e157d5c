"""What an operator of ONNX needs to run: its attributes, and the version of the operator set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Operation = Callable[..., Any]
"""Runs an operator: takes its `Call` and its inputs, and returns its output, or a sequence of outputs."""


class Unsupported(NotImplementedError):
    """An operator, or a form of it, that cannot be run in PyTorch."""


@dataclass(frozen=True)
class Call:
    """One node of a graph, without its inputs.

    Attributes:
        operator: Name of the operator.
        attributes: Its attributes by name.
        opset: Version of the operator set.
        outputs: Number of outputs that the graph reads.
    """

    operator: str
    attributes: dict[str, Any]
    opset: int
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an attribute, or the default."""
        return self.attributes.get(name, default)

    def numbers(self, name: str, given: Tensor | None) -> list[int] | None:
        """Returns integers that are an input in newer versions of an operator and an attribute in older ones.

        Args:
            name: Name of the attribute.
            given: The input, a vector of integers (n,) or a number (); None if there is none.
        """
        if given is not None:
            return list_numbers(given)
        value = self.get(name)
        return None if value is None else list(value)


def list_numbers(values: Tensor) -> list[int]:
    """Returns the values of a vector (n,) or of a number ()."""
    return [int(value) for value in values.reshape(-1).tolist()]


def move_together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Moves tensors to the device of the network if one of them is there: numbers of shapes are on the CPU."""
    device = next((each.device for each in tensors if each.device.type != "cpu"), None)
    return tensors if device is None else tuple(each.to(device) for each in tensors)
