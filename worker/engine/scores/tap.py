"""Reads an intermediate result of a forward pass, without changing the network."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Tap:
    """An intermediate result of a forward pass.

    Attributes:
        function: Name of the function that gave it.
        number: Position of the call among all calls of this function.
        scripted: Whether operators are counted instead of functions: TorchScript calls no Python function.
    """

    function: str
    number: int
    scripted: bool = False


class Calls:
    """Numbers the calls of each function in a forward pass, and keeps results.

    Attributes:
        wanted: Decides by name, number and result whether a result is kept.
        results: The results that were kept, with the name and the number of their call.
    """

    def __init__(self, wanted: Callable[[str, int, Tensor], bool]) -> None:
        """Creates a counter that has seen no call."""
        self.wanted = wanted
        self.results: list[tuple[str, int, Tensor]] = []
        self._counts: Counter[str] = Counter()

    def see(self, function: Any, result: Any, *, copy: bool) -> None:
        """Counts a call, and keeps its result or a copy if it is wanted."""
        if not isinstance(result, Tensor) or torch._C._functorch.is_functorch_wrapped_tensor(result):
            return
        name = str(function) if isinstance(function, torch._ops.OpOverload) else getattr(function, "__name__", "")
        number = self._counts[name]
        self._counts[name] += 1
        if self.wanted(name, number, result):
            self.results.append((name, number, result.clone() if copy else result))


class FunctionListener(TorchFunctionMode):
    """Shows the results of all functions to `Calls`: modules, functions, methods and operators of exported programs."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._calls.see(func, result, copy=True)  # the network may overwrite it
        return result


class OperatorListener(TorchDispatchMode):
    """Shows the results of all operators to `Calls`, those of TorchScript too."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._calls.see(func, result, copy=False)  # autograd attaches the gradient to this tensor later, not to a copy
        return result


@contextmanager
def listen(tap: Tap, rows: int) -> Iterator[list[Tensor]]:
    """Collects the tapped result (N, …) of a forward pass of so many images; the list is filled at its end."""
    tapped: list[Tensor] = []
    wanted = (tap.function, tap.number)
    calls = Calls(lambda name, number, result: (name, number) == wanted and result.ndim > 0 and len(result) == rows)
    with OperatorListener(calls) if tap.scripted else FunctionListener(calls):
        yield tapped
        tapped += [result for _, _, result in calls.results]
