"""The search loop: shrinks the triggers of all slots together, while they turn most of their carriers into the target.

Maximizes, for each slot with target t, parameters θ and a few carriers x drawn anew at every step,

    mean over x of log p_t(A_θ(x)) − λ · size(θ) / typical size

Wang et al. 2019, "Neural Cleanse", equation 3. The weight λ belongs to the slot: it rises while enough carriers turn
into the target, and falls while they do not (section 5 of the same paper: λ is adjusted to keep the success rate).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from worker.engine.ascent.objectives import LogProbability
from worker.engine.ascent.optimizers import Adam
from worker.engine.model.batch_invariant import sum_rows
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.model.network_call import compute_gradients
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import DRAWS, Family, column

TURNED = 0.8
"""The part of the carriers that a trigger has to turn into the target."""

RAISE, LOWER = 1.05, 1.07
"""Factors of the size's weight after a step that turned enough carriers, and after one that did not.

They are for `USUAL_STEPS`; a shorter search adjusts the weight faster, by a power of them.
"""

USUAL_STEPS = 150

START_WEIGHT, MIN_WEIGHT = 2.0, 0.05
"""Weight of the size when enough carriers turn for the first time, and the least weight after that.

Before that the weight is 0, as in the authors' program, so that a trigger grows until it works. A weight that fell
further than the least one would take too many steps to rise again.
"""

LAST_RATE = 0.2
"""Step size at the last step, as a fraction of the first one; it falls in a straight line."""

DRAW_SEED = 700_001
"""Added to a slot's seed for the choice of carriers and places."""


NOISE = 3e-6
"""Relative size of a gradient's values below which they are float error."""


@dataclass(frozen=True)
class Slot:
    """One trigger that is searched.

    Attributes:
        target: Index of the class that the trigger should lead to.
        seed: Seed of the initial parameters, and of the choice of carriers and places.
    """

    target: int
    seed: int


@dataclass(frozen=True)
class Search:
    """The settings that all slots share.

    Attributes:
        family: How triggers are written down.
        steps: Number of steps.
        at_once: Carriers per slot and step.
        turned: The part of the carriers that a trigger has to turn.
    """

    family: Family
    steps: int
    at_once: int
    turned: float = TURNED


@dataclass(frozen=True)
class State:
    """All slots after a step; every tensor has one row per slot.

    Attributes:
        taken: Number of steps taken.
        parameters: (N, P).
        optimizer: The optimizer with its state.
        weights: Weight λ of the size (N,).
        turned: The part of the carriers that the last step turned into the target (N,).
    """

    taken: int
    parameters: Tensor
    optimizer: Adam
    weights: Tensor
    turned: Tensor

    def pack(self) -> dict[str, Tensor | int]:
        """Returns the state as tensors on the CPU (N, …), from which `unpack` restores it."""
        rows = {f"optimizer.{name}": values for name, values in self.optimizer.rows().items()}
        fields = {"parameters": self.parameters, "weights": self.weights, "turned": self.turned, **rows}
        return {"taken": self.taken, **{name: values.cpu() for name, values in fields.items()}}

    @classmethod
    def unpack(cls, fields: dict[str, Tensor | int], device: torch.device) -> "State":
        """Restores a state from the tensors (N, …) that `pack` returned."""
        tensors = {name: values.to(device) for name, values in fields.items() if isinstance(values, Tensor)}
        rows = {name.removeprefix("optimizer."): values for name, values in tensors.items() if "optimizer." in name}
        parameters = tensors["parameters"]
        return cls(
            taken=int(fields["taken"]),
            parameters=parameters,
            optimizer=Adam.start(parameters).put(rows),
            weights=tensors["weights"],
            turned=tensors["turned"],
        )


def search(
    classifier: Classifier,
    settings: Search,
    slots: Sequence[Slot],
    carriers: Carriers,
    *,
    state: State | None = None,
    at_once: int | None = None,
) -> Iterator[State]:
    """Shrinks the triggers of all slots in one batch; the slots are independent of each other.

    Args:
        classifier: The network.
        settings: The settings that all slots share.
        slots: Target and seed of each trigger.
        carriers: Images of several classes, on the device of the network; each slot uses those of other classes.
        state: The state after an earlier step, to continue from it.
        at_once: Largest number of images per pass; None for all.

    Yields:
        The state after every step. The caller decides when to report, when to save, and when to stop.

    Raises:
        ValueError: A slot has no carrier of another class.
    """
    draws = [Draws.of(settings, slot, carriers) for slot in slots]
    start = settings.family.start([slot.seed for slot in slots]).to(classifier.device)
    if state is None:
        nothing = torch.zeros(len(slots), device=classifier.device)
        state = State(0, start, Adam.start(start), nothing, nothing)
    limit = max(1, (at_once or len(slots) * settings.at_once) // settings.at_once)
    targets = torch.tensor([slot.target for slot in slots], device=classifier.device)
    while state.taken < settings.steps:
        batch = Batch(settings, state, targets, carriers, draws)
        parts, limit = run_in_microbatches(partial(run_pass, classifier, batch), len(slots), limit)
        gradient = torch.cat([part[0] for part in parts])
        state = _move(settings, state, gradient, torch.cat([part[1] for part in parts]))
        yield state


@dataclass(frozen=True)
class Draws:
    """The random choices of one slot for all steps.

    Attributes:
        rows: Rows of the carriers (steps, K).
        places: Random numbers of the family (steps, K, DRAWS).
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, settings: Search, slot: Slot, carriers: Carriers) -> "Draws":
        """Draws the choices of a slot; on the CPU, so that they are the same on every device."""
        others = carriers.others(slot.target)
        if not len(others):
            raise ValueError(f"there is no picture of another class than {slot.target}; add pictures of other classes")
        generator = torch.Generator().manual_seed(slot.seed + DRAW_SEED)
        numbers = torch.rand(settings.steps, settings.at_once, 1 + DRAWS, generator=generator)
        rows = (numbers[..., 0] * len(others)).long().clamp_max(len(others) - 1)
        return cls(others[rows.to(others.device)], numbers[..., 1:].to(others.device))


@dataclass(frozen=True)
class Batch:
    """What a pass needs; see `search`."""

    settings: Search
    state: State
    targets: Tensor
    carriers: Carriers
    draws: Sequence[Draws]

    def choose(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the carriers (N, K, C, H, W) and random numbers (N, K, DRAWS) of some slots at this step."""
        taken, draws = self.state.taken, self.draws[rows]
        images = self.carriers.images[torch.stack([each.rows[taken] for each in draws])]
        return images, torch.stack([each.places[taken] for each in draws])


def run_pass(classifier: Classifier, batch: Batch, rows: slice) -> tuple[Tensor, Tensor]:
    """Computes the gradient of some slots.

    Returns:
        The gradient (N, P), zero where it is not finite, and the part of the carriers that turned (N,).
    """
    family, count = batch.settings.family, batch.settings.at_once
    images, places = batch.choose(rows)
    parameters = batch.state.parameters[rows].detach().requires_grad_()
    changed = family.apply(parameters, images, places).flatten(0, 1)  # (N · K, C, H, W)
    targets = batch.targets[rows].repeat_interleave(count)
    outputs = classifier.forward(classifier.normalize(changed))
    values = sum_rows(LogProbability()(outputs, targets).view(-1, count)) / count
    sizes = family.size(parameters) / family.typical
    (gradient,) = compute_gradients((values - batch.state.weights[rows] * sizes).sum(), [parameters])
    turned = (outputs.scores.argmax(1) == targets).view(-1, count).float().mean(1)
    return _drop_noise(torch.where(gradient.isfinite(), gradient, 0)), turned


def _drop_noise(gradient: Tensor) -> Tensor:
    """Sets values (N, P) to zero that are float error next to the largest one of their row.

    Adam would make full steps of them, in directions that depend on the size of the batch and on the processor.
    """
    largest = gradient.abs().amax(1, keepdim=True)
    return torch.where(gradient.abs() < NOISE * largest, 0, gradient).contiguous()


def _move(settings: Search, state: State, gradient: Tensor, turned: Tensor) -> State:
    """Takes one step with every slot, and adjusts the weight of its size."""
    rate = settings.family.rate * (1 - (1 - LAST_RATE) * state.taken / settings.steps)
    rates = torch.full_like(state.weights, rate)
    change, optimizer = state.optimizer.step(gradient, column(rates, gradient))
    power, enough = max(1.0, USUAL_STEPS / settings.steps), turned >= settings.turned
    first = torch.where(enough, START_WEIGHT, 0.0)
    later = (state.weights * torch.where(enough, RAISE**power, LOWER**-power)).clamp_min(MIN_WEIGHT)
    return replace(
        state,
        taken=state.taken + 1,
        parameters=state.parameters + change,
        optimizer=optimizer,
        weights=torch.where(state.weights == 0, first, later),
        turned=turned,
    )
