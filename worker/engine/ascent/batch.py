"""The running slots of an ascent as a batch, and the results of a pass; both can be selected and joined row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import torch
from torch import Tensor

from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.optimizers import Optimizer
from worker.engine.ascent.schedules import Schedule

DRAW_SEED = 500_009
"""Added to a slot's seed for the random numbers of the transforms."""


class State(TypedDict):
    """The saved state of a slot: everything that the request does not determine. Tensors are on the CPU."""

    taken: int
    restarts: int
    parameters: Tensor
    optimizer: dict[str, Tensor]
    best: Tensor
    best_penalized: Tensor
    best_step: Tensor


@dataclass(frozen=True)
class Batch:
    """The running slots; every tuple and tensor has one entry per slot.

    Attributes:
        numbers: Numbers by which the caller identifies the slots.
        slots: Their settings.
        steps: Number of steps that each takes in total.
        taken: Number of steps that each has taken.
        schedules: Factor of each slot's step size at each step.
        random: Random numbers of the transforms for all steps of a slot (steps, views · draws), on the CPU.
        restarts: Number of restarts of each slot.
        targets: Class index of each slot (N,).
        rates: Step size of each slot (N, 1, …).
        weights: Weights of the regularizers (N, number of regularizers).
        parameters: (N, …).
        optimizer: The optimizer with its state.
        origins: Reference images of the constraints (N, C, H, W); (N, 0) without constraints.
        best: Parameters of the best image that was evaluated (N, …).
        best_penalized: Its objective minus penalties (N,).
        best_step: Number of steps that led to it (N,).
    """

    numbers: tuple[int, ...]
    slots: tuple[Slot, ...]
    steps: tuple[int, ...]
    taken: tuple[int, ...]
    schedules: tuple[Schedule, ...]
    random: tuple[Tensor, ...]
    restarts: tuple[int, ...]
    targets: Tensor
    rates: Tensor
    weights: Tensor
    parameters: Tensor
    optimizer: Optimizer
    origins: Tensor
    best: Tensor
    best_penalized: Tensor
    best_step: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Sequence[int]) -> "Batch":
        """Returns the batch of some slots, given their rows."""
        if list(rows) == list(range(len(self))):
            return self
        index = torch.tensor(rows, dtype=torch.int64, device=self.targets.device)

        def pick(value: Any) -> Any:
            return tuple(value[row] for row in rows) if isinstance(value, tuple) else value[index]

        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "optimizer"}
        picked = {name: pick(value) for name, value in values.items()}
        return replace(self, optimizer=self.optimizer.take(index), **picked)

    def join(self, others: "Batch") -> "Batch":
        """Returns the batch of these slots and, after them, those of another batch with the same kind of ascent."""

        def concatenate(name: str) -> Any:
            ours, theirs = getattr(self, name), getattr(others, name)
            return ours + theirs if isinstance(ours, tuple) else torch.cat([ours, theirs])

        names = [each.name for each in fields(self) if each.name != "optimizer"]
        joined = {name: concatenate(name) for name in names}
        return replace(self, optimizer=self.optimizer.join(others.optimizer), **joined)

    def put(self, rows: Sequence[int], others: "Batch", names: Sequence[str]) -> "Batch":
        """Replaces fields of some rows.

        Args:
            rows: The rows to replace.
            others: A batch of these rows only.
            names: The fields to replace; each is a tensor.
        """
        index = torch.tensor(rows, dtype=torch.int64, device=self.targets.device)
        changed = {name: getattr(self, name).index_copy(0, index, getattr(others, name)) for name in names}
        return replace(self, **changed)

    def states(self) -> dict[int, State]:
        """Returns the state of every slot by its number, for a checkpoint."""
        optimizer = self.optimizer.rows()
        return {
            number: State(
                taken=self.taken[row],
                restarts=self.restarts[row],
                parameters=_copy_row(self.parameters, row),
                optimizer={name: _copy_row(values, row) for name, values in optimizer.items()},
                best=_copy_row(self.best, row),
                best_penalized=_copy_row(self.best_penalized, row),
                best_step=_copy_row(self.best_step, row),
            )
            for row, number in enumerate(self.numbers)
        }

    def restore(self, states: Sequence[State]) -> "Batch":
        """Returns the slots in saved states, one state for each slot in the order of the rows."""
        device = self.targets.device

        def stack(name: str) -> Tensor:
            return torch.stack([state[name] for state in states]).to(device)  # type: ignore[literal-required]

        optimizer = {
            name: torch.stack([state["optimizer"][name] for state in states]).to(device)
            for name in self.optimizer.rows()
        }
        return replace(
            self,
            taken=tuple(state["taken"] for state in states),
            restarts=tuple(state["restarts"] for state in states),
            optimizer=self.optimizer.put(optimizer),
            parameters=stack("parameters"),
            best=stack("best"),
            best_penalized=stack("best_penalized"),
            best_step=stack("best_step"),
        )


@dataclass(frozen=True)
class PassResult:
    """The result of a pass.

    Attributes:
        values: Objective of each slot (N,).
        penalized: Objective minus penalties (N,).
        gradient: Gradient of the penalized objective with respect to the parameters (N, …).
        stuck: Whether the slot cannot take a step: the gradient of the objective is zero, or `broken` (N,).
        broken: Whether the objective, its gradient or the scores are NaN or infinite (N,).
        scores: Class scores (N, K) of the first view.
    """

    values: Tensor
    penalized: Tensor
    gradient: Tensor
    stuck: Tensor
    broken: Tensor
    scores: Tensor

    def take(self, rows: Sequence[int]) -> "PassResult":
        """Returns the results of some slots, given their rows."""
        return PassResult(**{each.name: getattr(self, each.name)[list(rows)] for each in fields(PassResult)})


def join_results(parts: Sequence[PassResult]) -> PassResult:
    """Concatenates the results of consecutive rows."""
    if len(parts) == 1:
        return parts[0]
    names = [each.name for each in fields(PassResult)]
    return PassResult(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def draw(ascent: Ascent, slot: Slot) -> Tensor:
    """Draws the transforms' random numbers in 0..1 for all steps of a slot: (steps, views · draws), on the CPU."""
    shape = (ascent.steps, ascent.views * ascent.transform.draws)
    return torch.rand(shape, generator=torch.Generator().manual_seed(slot.seed + DRAW_SEED))


def column(values: Tensor, like: Tensor) -> Tensor:
    """Reshapes one value per slot (N,) so that it broadcasts to parameters (N, …): (N, 1, …)."""
    return values.view([-1] + [1] * (like.ndim - 1))


def list_rows(flags: Tensor) -> list[int]:
    """Lists the rows whose flag (N,) is true; the host waits for the device."""
    return [row for row, flag in enumerate(flags.tolist()) if flag]


def to_device(values: Tensor, like: Tensor) -> Tensor:
    """Copies a tensor of any shape from the host to the device of `like`; the host does not wait."""
    return pin(values, like).to(like.device, non_blocking=True)


def pin(values: Tensor, like: Tensor) -> Tensor:
    """Moves a tensor of any shape to pinned memory if `like` is on a GPU, so that it can be copied without waiting."""
    return values.pin_memory() if like.is_cuda else values


def _copy_row(values: Tensor, row: int) -> Tensor:
    return values[row].detach().cpu().clone()
