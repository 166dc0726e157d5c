"""Searches the results of a forward pass for those of which a function is the network's output."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.model.network_call import NetworkError, call_network
from worker.engine.scores.outputs import agree, pick_output, to_rows
from worker.engine.scores.tap import Calls, FunctionListener, OperatorListener, Tap

TOLERANCE = 1e-5
"""Largest relative difference between the output and the final function of the scores."""


class Search:
    """The results of shape (N, K, …) of one forward pass, recorded when they are first needed."""

    def __init__(self, network: nn.Module, inputs: Tensor, columns: int, path: str | None) -> None:
        self._path = path
        self._network = network
        self._inputs = inputs
        self._columns = columns
        self._recorded: dict[bool, dict[Tap, Tensor]] = {}

    def result(self, tap: Tap) -> Tensor:
        """Returns a result (N, K, …) of the forward pass."""
        return self._record(scripted=tap.scripted)[tap]

    def find(
        self, function: Callable[[Tensor], Tensor], wanted: Tensor, *, scripted: bool = True, changes: bool = False
    ) -> Tap | None:
        """Returns the first result z (N, K, …) with function(z) = wanted (N, K); None if there is none.

        Args:
            function: Applied to the mean over positions of z; with `changes` to z itself, before the mean.
            wanted: The output.
            scripted: Whether to look into TorchScript too.
            changes: Whether the function must change a value of z.
        """
        rows = wanted.isfinite().all(1)
        for by_operator in (False, True) if scripted and _is_scripted(self._network) else (False,):
            for tap, result in self._record(scripted=by_operator).items():
                values = result.float()
                mapped = to_rows(function(values)) if changes else function(to_rows(values))
                if not is_equal(mapped, wanted) or not to_rows(values)[rows].isfinite().all():
                    continue
                if changes and torch.equal(function(values), values):
                    continue
                for found in (self._find_latest(tap), tap):
                    if self._holds(found, function, changes=changes):
                        return found
        return None

    def _find_latest(self, tap: Tap) -> Tap:
        """The latest result with the same mean over positions: layers between the two lie on the way to the scores."""
        recorded = self._record(scripted=tap.scripted)
        rows = to_rows(recorded[tap])
        taps = list(recorded)
        same = [other for other in taps[taps.index(tap) :] if is_equal(to_rows(recorded[other]), rows)]
        return same[-1]

    def _holds(self, tap: Tap, function: Callable[[Tensor], Tensor], *, changes: bool) -> bool:
        """Whether a result has the scores in passes of other numbers of images too."""
        for inputs in (self._inputs[:2], self._inputs.flip(0)[:3]):
            calls = Calls(lambda name, number, _: (name, number) == (tap.function, tap.number))
            try:
                with OperatorListener(calls) if tap.scripted else FunctionListener(calls):
                    output = call_network(self._network, inputs, inputs.dtype)
                wanted = to_rows(pick_output(output, self._path))
            except NetworkError:
                continue  # it does not take so many images
            if not calls.results or not _has_shape(calls.results[0][2], len(inputs), self._columns):
                return False
            values = calls.results[0][2].float()
            if not changes and not is_equal(function(to_rows(values)), wanted):
                return False
        return True

    def ends_in_probabilities(self, rows: Tensor) -> bool:
        """Whether an output (N, K) between 0 and 1 comes from softmax or sigmoid.

        That is so if each of its columns is a column of theirs, or if it lies between several of their results, as a
        mean does.
        """
        listener = _ProbabilityListener()
        with listener:
            call_network(self._network, self._inputs, self._inputs.dtype)
        results = [to_rows(result) for result in listener.results if result.ndim in (1, 2) and len(result) == len(rows)]
        if results:
            columns = torch.cat(results, dim=1)  # (N, M)
            distances = [(column[:, None] - columns).abs().nan_to_num(torch.inf).amax(0).amin() for column in rows.T]
            if bool((torch.stack(distances) <= TOLERANCE).all()):
                return True
        return any(_is_between(rows, group) for group in _group(listener.results, *rows.shape))

    def _record(self, *, scripted: bool) -> dict[Tap, Tensor]:
        if scripted not in self._recorded:
            shape = (len(self._inputs), self._columns)
            calls = Calls(lambda _name, _number, result: _has_shape(result, *shape))
            with OperatorListener(calls) if scripted else FunctionListener(calls):
                call_network(self._network, self._inputs, self._inputs.dtype)
            self._recorded[scripted] = {Tap(name, number, scripted): result for name, number, result in calls.results}
        return self._recorded[scripted]


class _ProbabilityListener(OperatorListener):
    """Keeps the results of softmax and sigmoid: operators whose results lie between 0 and 1.

    Attributes:
        results: The results (…), in float32.
    """

    OPERATORS = (
        torch.ops.aten._softmax.default,
        torch.ops.aten.sigmoid.default,
        torch.ops.aten.hardsigmoid.default,
    )

    def __init__(self) -> None:
        super().__init__(Calls(lambda *_: False))
        self.results: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in self.OPERATORS:
            self.results.append(result.detach().float())
        return result


def _group(results: Sequence[Tensor], rows: int, columns: int) -> Iterator[Tensor]:
    """Groups of probabilities (M, N, K), M > 1: separate results, and the views of an image in one result."""
    fitting = [to_rows(result) for result in results if _has_shape(result, rows, columns)]
    if len(fitting) > 1:
        yield torch.stack(fitting)
    for result in results:
        views = result.numel() // (rows * columns)
        if views > 1 and views * rows * columns == result.numel() and columns == result.shape[-1] > 1:
            yield result.reshape(views, rows, columns)
            yield result.reshape(rows, views, columns).transpose(0, 1)


def _is_between(rows: Tensor, group: Tensor) -> bool:
    """Whether an output (N, K) lies between the least and the largest of the probabilities (M, N, K)."""
    low, high = group.amin(0) - TOLERANCE, group.amax(0) + TOLERANCE
    return bool(((rows >= low) & (rows <= high)).all())


def _has_shape(result: Tensor, rows: int, columns: int) -> bool:
    """Whether a result is (N, K, …), or (N,) for one column."""
    if result.ndim == 1:
        return columns == 1 and len(result) == rows
    return result.ndim > 1 and result.shape[:2] == (rows, columns)


def _is_scripted(network: nn.Module) -> bool:
    return any(isinstance(module, torch.jit.ScriptModule) for module in network.modules())


def is_equal(values: Tensor, wanted: Tensor) -> bool:
    """Whether values equal the wanted ones (N, K) up to rounding, in the rows where these are finite."""
    rows = wanted.isfinite().all(1)
    return values.shape == wanted.shape and bool(rows.any()) and agree(values[rows], wanted[rows], TOLERANCE)
