"""Gradient ascent on pictures: the one loop that everything that climbs goes through."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from worker.engine.ascent import Ascent, End, Reason, Slot, Step
from worker.engine.blur import blur
from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts
from worker.engine.optimizer import Optimizer
from worker.engine.prior import sum_priors
from worker.engine.start import Normal
from worker.engine.transform import Chain, fit

CHECK_EVERY = 8
"""Steps between two looks at which slots are stuck: each look makes a GPU wait for the host."""

RESTART_SEED, DRAW_SEED = 1_000_003, 500_009
"""Added to a slot's seed where it draws for another purpose."""

RESTART_NOISE = 0.3
"""Standard deviation of a restart's noise: loud, because the quiet start had no gradient."""


@dataclass(frozen=True)
class Climb:
    """What one pass through the network gave.

    Attributes:
        values: The objective (N,).
        worth: The same less the priors (N,).
        gradient: Of the worth, by the parameters: (N, …).
        stuck: Slots whose objective has no gradient: (N,).
        scores: (N, K).
    """

    values: Tensor
    worth: Tensor
    gradient: Tensor
    stuck: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Batch:
    """The slots that climb now; every tensor has a row for each.

    Attributes:
        slots: Their numbers.
        random: The transforms' numbers for all steps: (steps, N, views · draws), on the CPU.
        restarts: How often each was started again.
        origins: Where their pictures come from (N, C, H, W); of no size where nothing is bounded.
        best: Parameters of the best picture that was looked at.
        best_worth: Its worth.
        best_step: The step it was found at.
    """

    slots: tuple[int, ...]
    targets: Tensor
    rates: Tensor
    weights: Tensor
    parameters: Tensor
    memory: Optimizer
    random: Tensor
    restarts: tuple[int, ...]
    origins: Tensor
    best: Tensor
    best_worth: Tensor
    best_step: Tensor

    def take(self, rows: Sequence[int]) -> "Batch":
        """Some of the slots, by their rows."""
        if list(rows) == list(range(len(self.slots))):
            return self
        index = torch.tensor(rows, dtype=torch.int64, device=self.targets.device)
        return Batch(
            slots=tuple(self.slots[row] for row in rows), targets=self.targets[index], rates=self.rates[index],
            weights=self.weights[index], parameters=self.parameters[index], memory=self.memory.take(index),
            random=self.random[:, list(rows)], restarts=tuple(self.restarts[row] for row in rows),
            origins=self.origins[index], best=self.best[index], best_worth=self.best_worth[index],
            best_step=self.best_step[index],
        )  # fmt: skip


def ascend(
    classifier: Classifier, ascent: Ascent, slots: Sequence[Slot], *, at_once: int | None = None
) -> Iterator[Step]:
    """Climbs every slot's objective, all in one batch, none noticing the others.

    Maximises S_c(I) − Σ λ·prior(I) (Simonyan et al. 2013, arXiv 1312.6034, equation 1), with each slot's own numbers.
    Slots that are done leave the batch. One whose gradient is zero or not finite is started again from louder noise,
    and leaves as dead if that does not help. When memory runs out, the batch goes through the network in halves.

    Args:
        at_once: How many slots go through the network at a time at most.

    Yields:
        The batch after every step; the caller decides what to keep, when to report, and when to stop.
    """
    batch = _begin(classifier, ascent, slots)
    limit = at_once or len(slots)
    for index in range(1, ascent.steps + 1):
        batch = _blur_if_due(ascent, batch, index)
        parts, limit = run_in_parts(partial(climb, classifier, ascent, batch, index), len(batch.slots), limit)
        climbed = _join(parts)
        leaving: dict[int, Reason] = {}
        if ascent.looks and (index - 1) % ascent.look_every == 0:
            batch, leaving = _look(classifier, ascent, batch, index - 1, climbed)
        ended = _end(ascent, batch, leaving, index - 1)
        moved = _move(ascent, batch, climbed, index)
        if index in (1, ascent.steps) or index % CHECK_EVERY == 0:
            moved, dead = _restart(classifier, ascent, moved, climbed.stuck, slots, last=index == ascent.steps)
            ended += _end(ascent, batch, {row: reason for row, reason in dead.items() if row not in leaving}, index)
            leaving = dead | leaving
        moved = moved.take([row for row in range(len(moved.slots)) if row not in leaving])
        if index == ascent.steps and moved.slots:
            ended += _finish(classifier, ascent, moved)
            moved = moved.take([])
        yield Step(index, moved.slots, ascent.image, moved.parameters, batch.slots, climbed.values, ended)
        if not moved.slots:
            return
        batch = moved


def climb(classifier: Classifier, ascent: Ascent, batch: Batch, index: int, rows: slice) -> Climb:
    """One pass forward and back through the network, for some rows of the batch."""
    targets = batch.targets[rows]
    parameters = batch.parameters[rows].detach().requires_grad_()
    pictures = ascent.image.picture(parameters)  # (N, C, H, W)
    seen = pictures.detach().requires_grad_()
    views = [ascent.transform(seen, random) for random in batch.random[index - 1, rows].chunk(ascent.views, 1)]
    outputs = classifier.look(classifier.normalise(torch.cat(views)), ascent.objective.layers, gentle=ascent.gentle)
    values = ascent.objective(outputs, targets.repeat(ascent.views)).view(ascent.views, -1).mean(0)  # (N,)
    (slope,) = torch.autograd.grad(values.sum(), seen)
    # The network's slope alone tells whether a slot is stuck: a prior pulls even where the score is flat.
    steepest = slope.flatten(1).abs().amax(1)
    stuck = ~((steepest > 0) & steepest.isfinite())
    slope = torch.where(stuck[:, None, None, None], 0, slope)
    penalty = _penalise(ascent, batch.weights[rows], parameters, pictures)
    (gradient,) = torch.autograd.grad((slope * pictures).sum() - penalty.sum(), parameters)
    values = values.detach()
    return Climb(values, values - penalty.detach(), gradient, stuck, outputs.scores[: len(targets)].detach())


def _begin(classifier: Classifier, ascent: Ascent, slots: Sequence[Slot]) -> Batch:
    device = classifier.device
    shape = (classifier.channels, *ascent.size)
    origins = torch.zeros(len(slots), 0, device=device) if ascent.origins is None else ascent.origins.to(device)
    parameters = _round(ascent, ascent.start(ascent.image, shape, [slot.seed for slot in slots]).to(device))
    parameters = _hold(ascent, parameters, origins)
    return Batch(
        slots=tuple(range(len(slots))),
        targets=torch.tensor([slot.target for slot in slots], device=device),
        rates=_column(torch.tensor([slot.rate for slot in slots], device=device), parameters),
        weights=torch.tensor([slot.weights for slot in slots], dtype=torch.float32, device=device),
        parameters=parameters,
        memory=ascent.optimizer(parameters),
        random=_draw(ascent, slots, pinned=device.type == "cuda"),
        restarts=(0,) * len(slots),
        origins=origins,
        best=parameters,
        best_worth=torch.full((len(slots),), -torch.inf, device=device),
        best_step=torch.zeros(len(slots), dtype=torch.int64, device=device),
    )


def _draw(ascent: Ascent, slots: Sequence[Slot], *, pinned: bool) -> Tensor:
    """The transforms' random numbers for all steps, each slot's from its own seed."""
    shape = (ascent.steps, ascent.views * ascent.transform.draws)
    drawn = [torch.rand(shape, generator=torch.Generator().manual_seed(slot.seed + DRAW_SEED)) for slot in slots]
    random = torch.stack(drawn, 1)
    return random.pin_memory() if pinned else random


def _move(ascent: Ascent, batch: Batch, climbed: Climb, index: int) -> Batch:
    change, memory = batch.memory.step(climbed.gradient, batch.rates * ascent.schedule(index))
    return replace(
        batch, parameters=_hold(ascent, _round(ascent, batch.parameters + change), batch.origins), memory=memory
    )


def _hold(ascent: Ascent, parameters: Tensor, origins: Tensor) -> Tensor:
    """The parameters of pictures within all bounds."""
    if not ascent.bounds:
        return parameters
    pictures = ascent.image.picture(parameters)
    for bound in ascent.bounds:
        pictures = bound(pictures, origins)
    return ascent.image.parameters(pictures)


def _penalise(ascent: Ascent, weights: Tensor, parameters: Tensor, pictures: Tensor) -> Tensor:
    """Σ λ·prior per slot (N,)."""
    if not ascent.priors:
        return torch.zeros(len(weights), device=weights.device)
    return sum_priors(ascent.priors, weights, ascent.image.deviation(parameters, pictures))


def _save(ascent: Ascent, pictures: Tensor, origins: Tensor) -> Tensor:
    """Pictures in 8 bits; what is bounded is rounded towards its origin, so that it stays within."""
    if not ascent.bounded:
        return pictures.clamp(0, 1).mul(255).round() / 255
    levels = (pictures - origins) * 255
    change = (levels.abs() + 1e-3).floor() * levels.sign()  # a whole level that is short of itself by rounding counts
    return (origins * 255 + change).round().clamp(0, 255) / 255


def _blur_if_due(ascent: Ascent, batch: Batch, index: int) -> Batch:
    every, radius = ascent.blur
    if not every or index % every:
        return batch
    blurred = ascent.image.parameters(blur(ascent.image.picture(batch.parameters), radius))
    return replace(batch, parameters=_round(ascent, blurred))


def _round(ascent: Ascent, parameters: Tensor) -> Tensor:
    if not ascent.eight_bits:
        return parameters
    levels = ascent.image.picture(parameters).clamp(0, 1).mul(255).round()
    return ascent.image.parameters(levels / 255)


@torch.no_grad()
def _look(
    classifier: Classifier, ascent: Ascent, batch: Batch, taken: int, climbed: Climb | None = None
) -> tuple[Batch, dict[int, Reason]]:
    """Judges the pictures without transforms after `taken` steps: the batch with its best, and which rows may leave."""
    shown = ascent.transform == Chain(classifier.size) and not ascent.as_saved
    if climbed is not None and shown and not classifier.tail.clamps:
        worth, scores = climbed.worth, climbed.scores  # they were just shown as they are
    else:
        worth, scores = _judge(classifier, ascent, batch)
    better = worth > batch.best_worth
    batch = replace(
        batch,
        best=torch.where(_column(better, batch.parameters), batch.parameters, batch.best),
        best_worth=torch.where(better, worth, batch.best_worth),
        best_step=torch.where(better, taken, batch.best_step),
    )
    leaving: dict[int, Reason] = {}
    if ascent.stop_plateau is not None:
        leaving |= dict.fromkeys(_rows(taken - batch.best_step >= ascent.stop_plateau), "plateau")
    if ascent.stop_probability is not None:
        chances = scores.softmax(1).gather(1, batch.targets[:, None]).squeeze(1)
        leaving |= dict.fromkeys(_rows(chances > ascent.stop_probability), "probability")
    return batch, leaving


def _judge(classifier: Classifier, ascent: Ascent, batch: Batch) -> tuple[Tensor, Tensor]:
    """Each picture's worth (N,) and the scores (N, K) that the whole network gives it, as it is."""
    pictures = ascent.image.picture(batch.parameters)
    seen = _save(ascent, pictures, batch.origins) if ascent.as_saved else pictures
    inputs = classifier.normalise(fit(seen, classifier.size))
    outputs = classifier.look(inputs, ascent.objective.layers)
    worth = ascent.objective(outputs, batch.targets) - _penalise(ascent, batch.weights, batch.parameters, pictures)
    return worth, classifier.scores(inputs) if classifier.tail.clamps else outputs.scores


def _restart(
    classifier: Classifier, ascent: Ascent, batch: Batch, stuck: Tensor, slots: Sequence[Slot], *, last: bool
) -> tuple[Batch, dict[int, Reason]]:
    """Starts stuck slots again; the batch after it, and the rows that are given up."""
    rows = _rows(stuck)
    restarts, parameters = list(batch.restarts), batch.parameters.clone() if rows else batch.parameters
    for row in rows:
        restarts[row] += 1
        seed = slots[batch.slots[row]].seed + RESTART_SEED * restarts[row]
        fresh = Normal(RESTART_NOISE)(ascent.image, (classifier.channels, *ascent.size), [seed])
        parameters[row] = _hold(ascent, _round(ascent, fresh.to(parameters)), batch.origins[row : row + 1])[0]
    dead: dict[int, Reason] = {row: "dead" for row in rows if last or restarts[row] > ascent.restarts}
    return replace(batch, parameters=parameters, restarts=tuple(restarts)), dead


def _finish(classifier: Classifier, ascent: Ascent, batch: Batch) -> tuple[End, ...]:
    """The slots that have taken every step."""
    if ascent.keep_best:
        batch, _ = _look(classifier, ascent, batch, ascent.steps)
    return _end(ascent, batch, dict.fromkeys(range(len(batch.slots)), "steps"), ascent.steps)


def _end(ascent: Ascent, batch: Batch, leaving: Mapping[int, Reason], taken: int) -> tuple[End, ...]:
    """The rows that leave, with their pictures: the best where that is kept, else as they are."""
    if not leaving:
        return ()
    gone = batch.take(list(leaving))
    pictures = ascent.image.picture(gone.best if ascent.keep_best else gone.parameters).float()
    pictures = (_save(ascent, pictures, gone.origins) if ascent.as_saved and ascent.bounded else pictures).cpu()
    steps = gone.best_step.tolist() if ascent.keep_best else [taken] * len(leaving)
    return tuple(map(End, gone.slots, pictures, steps, leaving.values()))


def _join(parts: Sequence[Climb]) -> Climb:
    if len(parts) == 1:
        return parts[0]
    return Climb(**{each.name: torch.cat([getattr(part, each.name) for part in parts]) for each in fields(Climb)})


def _rows(flags: Tensor) -> list[int]:
    """The rows that are true (N,); a GPU is waited for."""
    return [row for row, flag in enumerate(flags.tolist()) if flag]


def _column(values: Tensor, like: Tensor) -> Tensor:
    """One value per slot (N,) in the shape that multiplies parameters (N, …)."""
    return values.view([-1] + [1] * (like.ndim - 1))
