"""Gradient ascent on pictures: the one loop that everything that climbs goes through."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from worker.engine.ascent import Ascent, End, Reason, Slot, Step
from worker.engine.batch import Batch, column, draw
from worker.engine.blur import blur
from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts
from worker.engine.prior import sum_priors
from worker.engine.start import Normal
from worker.engine.transform import Chain, fit

BEST = ("best", "best_worth", "best_step")
"""What a look changes of a batch."""

CHECK_EVERY = 8
"""Steps between two looks at which slots are stuck: each look makes a GPU wait for the host."""

RESTART_SEED = 1_000_003
"""Added to a slot's seed, times the number of its restarts."""

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

    def take(self, rows: Sequence[int]) -> "Climb":
        """Of some slots, by their rows."""
        return Climb(**{each.name: getattr(self, each.name)[list(rows)] for each in fields(Climb)})


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
    batch = begin(classifier, ascent, dict(enumerate(slots)))
    limit = at_once or len(slots)
    while len(batch):
        batch, step, limit = advance(classifier, ascent, batch, limit)
        yield step


def advance(classifier: Classifier, ascent: Ascent, batch: Batch, limit: int) -> tuple[Batch, Step, int]:
    """One step of every slot, each at its own place on its way.

    Args:
        ascent: What all of them have in common; steps and schedule are the batch's own.
        limit: How many slots go through the network at a time at most.

    Returns:
        Those that climb on, what happened, and the limit that held.
    """
    batch = _blur_if_due(ascent, batch)
    parts, limit = run_in_parts(partial(climb, classifier, ascent, batch), len(batch), limit)
    climbed = _join(parts)
    batch, leaving = _look_if_due(classifier, ascent, batch, climbed)
    ended = _end(ascent, batch, leaving)
    moved = _move(ascent, batch, climbed)
    moved, dead = _restart(classifier, ascent, moved, climbed.stuck)
    ended += _end(ascent, replace(batch, taken=moved.taken), _without(dead, leaving))
    finished: dict[int, Reason] = {row: "steps" for row in range(len(moved)) if moved.taken[row] == moved.steps[row]}
    ended += _finish(classifier, ascent, moved, [*_without(finished, dead | leaving)])
    moved = moved.take([row for row in range(len(moved)) if row not in leaving | dead | finished])
    step = Step(moved.numbers, moved.taken, ascent.image, moved.parameters, batch.numbers, climbed.values, ended)
    return moved, step, limit


def climb(classifier: Classifier, ascent: Ascent, batch: Batch, rows: slice) -> Climb:
    """One pass forward and back through the network, for some rows of the batch."""
    drawn = zip(batch.random[rows], batch.taken[rows], strict=True)
    random = _pinned(torch.stack([numbers[taken] for numbers, taken in drawn]), batch.targets)
    targets = batch.targets[rows]
    parameters = batch.parameters[rows].detach().requires_grad_()
    pictures = ascent.image.picture(parameters)  # (N, C, H, W)
    seen = pictures.detach().requires_grad_()
    views = [ascent.transform(seen, each) for each in random.chunk(ascent.views, 1)]
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
    # Always in one order of memory: kernels for another round otherwise, and who joins brings tensors of its own.
    return Climb(
        values, values - penalty.detach(), gradient.contiguous(), stuck, outputs.scores[: len(targets)].detach()
    )


def begin(classifier: Classifier, ascent: Ascent, slots: Mapping[int, Slot]) -> Batch:
    """Slots before their first step, by what they are to be called."""
    device, climbing = classifier.device, tuple(slots.values())
    shape = (classifier.channels, *ascent.size)
    origins = torch.zeros(len(slots), 0, device=device) if ascent.origins is None else ascent.origins.to(device)
    parameters = _round(ascent, ascent.start(ascent.image, shape, [slot.seed for slot in climbing]).to(device))
    parameters = _hold(ascent, parameters, origins)
    return Batch(
        numbers=tuple(slots),
        slots=climbing,
        steps=(ascent.steps,) * len(slots),
        taken=(0,) * len(slots),
        schedules=(ascent.schedule,) * len(slots),
        random=tuple(draw(ascent, slot) for slot in climbing),
        restarts=(0,) * len(slots),
        targets=torch.tensor([slot.target for slot in climbing], device=device),
        rates=column(torch.tensor([slot.rate for slot in climbing], device=device), parameters),
        weights=torch.tensor([slot.weights for slot in climbing], dtype=torch.float32, device=device),
        parameters=parameters,
        memory=ascent.optimizer(parameters),
        origins=origins,
        best=parameters,
        best_worth=torch.full((len(slots),), -torch.inf, device=device),
        best_step=torch.zeros(len(slots), dtype=torch.int64, device=device),
    )


def _move(ascent: Ascent, batch: Batch, climbed: Climb) -> Batch:
    factors = [schedule(taken + 1) for schedule, taken in zip(batch.schedules, batch.taken, strict=True)]
    rates = batch.rates * _on(column(torch.tensor(factors), batch.parameters), batch.rates)
    change, memory = batch.memory.step(climbed.gradient, rates)
    parameters = _hold(ascent, _round(ascent, batch.parameters + change), batch.origins)
    return replace(batch, parameters=parameters, memory=memory, taken=tuple(taken + 1 for taken in batch.taken))


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


def _blur_if_due(ascent: Ascent, batch: Batch) -> Batch:
    every, radius = ascent.blur
    due = [bool(every) and (taken + 1) % every == 0 for taken in batch.taken]
    if not any(due):
        return batch
    blurred = _round(ascent, ascent.image.parameters(blur(ascent.image.picture(batch.parameters), radius)))
    chosen = column(_on(torch.tensor(due), batch.targets), blurred)
    return replace(batch, parameters=torch.where(chosen, blurred, batch.parameters))


def _round(ascent: Ascent, parameters: Tensor) -> Tensor:
    if not ascent.eight_bits:
        return parameters
    levels = ascent.image.picture(parameters).clamp(0, 1).mul(255).round()
    return ascent.image.parameters(levels / 255)


def _look_if_due(
    classifier: Classifier, ascent: Ascent, batch: Batch, climbed: Climb
) -> tuple[Batch, dict[int, Reason]]:
    """Judges the pictures of slots whose turn it is: the batch with their best, and which rows may leave."""
    due = [row for row, taken in enumerate(batch.taken) if taken % ascent.look_every == 0] if ascent.looks else []
    if not due:
        return batch, {}
    looked, leaving = _look(classifier, ascent, batch.take(due), climbed.take(due))
    return batch.put(due, looked, BEST), {due[row]: reason for row, reason in leaving.items()}


@torch.no_grad()
def _look(
    classifier: Classifier, ascent: Ascent, batch: Batch, climbed: Climb | None = None
) -> tuple[Batch, dict[int, Reason]]:
    """Judges the pictures without transforms as they are: the batch with its best, and which rows may leave."""
    shown = ascent.transform == Chain(classifier.size) and not ascent.as_saved
    if climbed is not None and shown and not classifier.tail.clamps:
        worth, scores = climbed.worth, climbed.scores  # they were just shown as they are
    else:
        worth, scores = _judge(classifier, ascent, batch)
    taken = _on(torch.tensor(batch.taken), batch.best_step)
    better = worth > batch.best_worth
    batch = replace(
        batch,
        best=torch.where(column(better, batch.parameters), batch.parameters, batch.best),
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


def _restart(classifier: Classifier, ascent: Ascent, batch: Batch, stuck: Tensor) -> tuple[Batch, dict[int, Reason]]:
    """Starts stuck slots again; the batch after it, and the rows that are given up."""
    due = {
        row
        for row in range(len(batch))
        if batch.taken[row] in (1, batch.steps[row]) or not batch.taken[row] % CHECK_EVERY
    }
    rows = [row for row in _rows(stuck) if row in due] if due else []
    restarts, parameters = list(batch.restarts), batch.parameters.clone() if rows else batch.parameters
    for row in rows:
        restarts[row] += 1
        seed = batch.slots[row].seed + RESTART_SEED * restarts[row]
        fresh = Normal(RESTART_NOISE)(ascent.image, (classifier.channels, *ascent.size), [seed])
        parameters[row] = _hold(ascent, _round(ascent, fresh.to(parameters)), batch.origins[row : row + 1])[0]
    given_up = [row for row in rows if batch.taken[row] == batch.steps[row] or restarts[row] > ascent.restarts]
    return replace(batch, parameters=parameters, restarts=tuple(restarts)), dict.fromkeys(given_up, "dead")


def _finish(classifier: Classifier, ascent: Ascent, batch: Batch, rows: Sequence[int]) -> tuple[End, ...]:
    """The rows that have taken every step."""
    if not rows:
        return ()
    batch = batch.take(rows)
    if ascent.keep_best:
        batch, _ = _look(classifier, ascent, batch)
    return _end(ascent, batch, dict.fromkeys(range(len(batch)), "steps"))


def _end(ascent: Ascent, batch: Batch, leaving: Mapping[int, Reason]) -> tuple[End, ...]:
    """The rows that leave, with their pictures: the best where that is kept, else as they are."""
    if not leaving:
        return ()
    gone = batch.take(list(leaving))
    pictures = ascent.image.picture(gone.best if ascent.keep_best else gone.parameters).float()
    pictures = (_save(ascent, pictures, gone.origins) if ascent.as_saved and ascent.bounded else pictures).cpu()
    steps = gone.best_step.tolist() if ascent.keep_best else gone.taken
    return tuple(map(End, gone.numbers, pictures, steps, leaving.values()))


def _without(leaving: Mapping[int, Reason], others: Collection[int]) -> dict[int, Reason]:
    """The rows that leave and are not among others."""
    return {row: reason for row, reason in leaving.items() if row not in others}


def _join(parts: Sequence[Climb]) -> Climb:
    if len(parts) == 1:
        return parts[0]
    return Climb(**{each.name: torch.cat([getattr(part, each.name) for part in parts]) for each in fields(Climb)})


def _rows(flags: Tensor) -> list[int]:
    """The rows that are true (N,); a GPU is waited for."""
    return [row for row, flag in enumerate(flags.tolist()) if flag]


def _on(values: Tensor, like: Tensor) -> Tensor:
    """Numbers from the host beside those of a device, which is not waited for."""
    return _pinned(values, like).to(like.device, non_blocking=True)


def _pinned(values: Tensor, like: Tensor) -> Tensor:
    return values.pin_memory() if like.is_cuda else values
