"""The slots that climb now: a row for each, which can be taken out, joined to others, put away and brought back."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import torch
from torch import Tensor

from worker.engine.ascent import Ascent, Slot
from worker.engine.optimizer import Optimizer
from worker.engine.schedule import Schedule

DRAW_SEED = 500_009
"""Added to a slot's seed where it draws for the transforms."""


class State(TypedDict):
    """A slot's row, as it is put away: what cannot be made again from the request. Tensors are on the CPU."""

    taken: int
    restarts: int
    parameters: Tensor
    memory: dict[str, Tensor]
    best: Tensor
    best_worth: Tensor
    best_step: Tensor


@dataclass(frozen=True)
class Batch:
    """The slots that climb now; every tensor has a row for each.

    Attributes:
        numbers: What each is called by whoever brought it.
        steps: How many each is to take.
        taken: How many it has taken.
        schedules: The factor of its step size at each step.
        random: The transforms' numbers for all its steps: (steps, views · draws), on the CPU.
        restarts: How often each was started again.
        origins: Where their pictures come from (N, C, H, W); of no size where nothing is bounded.
        best: Parameters of the best picture that was looked at.
        best_worth: Its worth.
        best_step: The step it was found at.
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
    memory: Optimizer
    origins: Tensor
    best: Tensor
    best_worth: Tensor
    best_step: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Sequence[int]) -> "Batch":
        """Some of the slots, by their rows."""
        if list(rows) == list(range(len(self))):
            return self
        index = torch.tensor(rows, dtype=torch.int64, device=self.targets.device)

        def pick(held: Any) -> Any:
            return tuple(held[row] for row in rows) if isinstance(held, tuple) else held[index]

        held = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "memory"}
        return replace(self, memory=self.memory.take(index), **{name: pick(value) for name, value in held.items()})

    def join(self, others: "Batch") -> "Batch":
        """The slots of both; they must climb in the same way."""

        def both(name: str) -> Any:
            ours, theirs = getattr(self, name), getattr(others, name)
            return ours + theirs if isinstance(ours, tuple) else torch.cat([ours, theirs])

        held = [each.name for each in fields(self) if each.name != "memory"]
        return replace(self, memory=self.memory.join(others.memory), **{name: both(name) for name in held})

    def put(self, rows: Sequence[int], others: "Batch", names: Sequence[str]) -> "Batch":
        """The same with these fields of some rows, from a batch that has only those rows."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.targets.device)
        return replace(
            self, **{name: getattr(self, name).index_copy(0, index, getattr(others, name)) for name in names}
        )

    def states(self) -> dict[int, State]:
        """Every slot as it can be put away, by its number."""
        memory = self.memory.rows()
        return {
            number: State(
                taken=self.taken[row],
                restarts=self.restarts[row],
                parameters=_lift(self.parameters, row),
                memory={name: _lift(values, row) for name, values in memory.items()},
                best=_lift(self.best, row),
                best_worth=_lift(self.best_worth, row),
                best_step=_lift(self.best_step, row),
            )
            for row, number in enumerate(self.numbers)
        }

    def restore(self, states: Sequence[State]) -> "Batch":
        """The same slots as they were when they were put away."""
        device = self.targets.device

        def stack(name: str) -> Tensor:
            return torch.stack([state[name] for state in states]).to(device)  # type: ignore[literal-required]

        memory = {name: torch.stack([state["memory"][name] for state in states]) for name in self.memory.rows()}
        return replace(
            self,
            taken=tuple(state["taken"] for state in states),
            restarts=tuple(state["restarts"] for state in states),
            memory=self.memory.put({name: values.to(device) for name, values in memory.items()}),
            parameters=stack("parameters"),
            best=stack("best"),
            best_worth=stack("best_worth"),
            best_step=stack("best_step"),
        )


def draw(ascent: Ascent, slot: Slot) -> Tensor:
    """The transforms' random numbers for all steps of a slot, from its own seed: (steps, views · draws)."""
    shape = (ascent.steps, ascent.views * ascent.transform.draws)
    return torch.rand(shape, generator=torch.Generator().manual_seed(slot.seed + DRAW_SEED))


def column(values: Tensor, like: Tensor) -> Tensor:
    """One value per slot (N,) in the shape that multiplies parameters (N, …)."""
    return values.view([-1] + [1] * (like.ndim - 1))


def _lift(values: Tensor, row: int) -> Tensor:
    return values[row].detach().cpu().clone()
