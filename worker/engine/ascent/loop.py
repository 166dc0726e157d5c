"""The ascent loop: gradient ascent on a batch of images, used by every method that optimizes images."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from worker.engine.ascent.batch import Batch, PassResult, column, draw, join_results, list_rows, pin, to_device
from worker.engine.ascent.config import FAILURES, Ascent, End, Reason, Slot, Step
from worker.engine.ascent.early_stopping import check, check_if_due
from worker.engine.ascent.initial import Normal
from worker.engine.blur import blur
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.model.network_call import compute_gradients

RESTART_EVERY = 8
"""Steps between two restarts of stuck slots: to find them, a GPU has to wait for the host."""

RESTART_SEED = 1_000_003
"""Added to a slot's seed, multiplied by the number of its restarts."""

RESTART_NOISE = 0.3
"""Standard deviation of a restart's noise: large, because the first initial image had no gradient."""


def ascend(
    classifier: Classifier, ascent: Ascent, slots: Sequence[Slot], *, at_once: int | None = None
) -> Iterator[Step]:
    """Maximizes the objective of every slot, all slots in one batch and independent of each other.

    Maximizes S_c(I) − Σ λ · regularizer(I) (Simonyan et al. 2013, arXiv 1312.6034, equation 1) with each slot's own
    target, step size and weights. A slot that is done leaves the batch. A slot whose gradient is zero, or whose values
    are not finite, is restarted from stronger noise, and leaves as `dead` or `not_finite` if that does not help. If
    memory runs out, the batch goes through the network in halves.

    Args:
        classifier: The network.
        ascent: The settings that all slots share.
        slots: The settings of each slot.
        at_once: Maximum number of slots per pass; None for all.

    Yields:
        The batch after every step. The caller decides what to keep, when to report, and when to stop.
    """
    batch = begin(classifier, ascent, dict(enumerate(slots)))
    limit = at_once or len(slots)
    while len(batch):
        batch, step, limit = advance(classifier, ascent, batch, limit)
        yield step


def begin(classifier: Classifier, ascent: Ascent, slots: Mapping[int, Slot]) -> Batch:
    """Creates the batch before the first step.

    Args:
        classifier: The network.
        ascent: The settings that all slots share.
        slots: The settings of each slot, by the number that identifies it.
    """
    device, settings = classifier.device, tuple(slots.values())
    shape = (classifier.channels, *ascent.size)
    # Contiguous, as a restored slot is: kernels for another memory order round differently.
    origins = torch.zeros(len(slots), 0) if ascent.origins is None else ascent.origins
    origins = origins.to(device).contiguous()
    initial = ascent.start(ascent.parameterization, shape, [slot.seed for slot in settings])
    parameters = ascent.project(ascent.quantize(initial.to(device).contiguous()), origins)
    return Batch(
        numbers=tuple(slots),
        slots=settings,
        steps=(ascent.steps,) * len(slots),
        taken=(0,) * len(slots),
        schedules=(ascent.schedule,) * len(slots),
        random=tuple(draw(ascent, slot) for slot in settings),
        restarts=(0,) * len(slots),
        targets=torch.tensor([slot.target for slot in settings], device=device),
        rates=column(torch.tensor([slot.rate for slot in settings], device=device), parameters),
        weights=torch.tensor([slot.weights for slot in settings], dtype=torch.float32, device=device),
        parameters=parameters,
        optimizer=ascent.optimizer(parameters),
        origins=origins,
        best=parameters,
        best_penalized=torch.full((len(slots),), -torch.inf, device=device),
        best_step=torch.zeros(len(slots), dtype=torch.int64, device=device),
    )


def advance(classifier: Classifier, ascent: Ascent, batch: Batch, limit: int) -> tuple[Batch, Step, int]:
    """Takes one step with every slot; the slots may have taken different numbers of steps.

    Args:
        classifier: The network.
        ascent: The settings that all slots share; number of steps and schedule are those of the batch.
        batch: The slots; at least one.
        limit: Maximum number of slots per pass.

    Returns:
        The slots that remain, the step, and the limit, which is lower if memory ran out.
    """
    batch = _blur_if_due(ascent, batch)
    parts, limit = run_in_microbatches(partial(run_pass, classifier, ascent, batch), len(batch), limit)
    result = join_results(parts)
    batch, leaving = check_if_due(classifier, ascent, batch, result)
    ended = _end(ascent, batch, leaving)
    due = {row for row, is_due in enumerate(list_due(batch)) if is_due}
    moved = _move(ascent, batch, result)
    moved, dead = _restart(classifier, ascent, moved, result, due)
    ended += _end(ascent, replace(batch, taken=moved.taken), _without(dead, leaving))
    finished: dict[int, Reason] = {row: "steps" for row in range(len(moved)) if moved.taken[row] == moved.steps[row]}
    ended += _finish(classifier, ascent, moved, [*_without(finished, dead | leaving)])
    moved = moved.take([row for row in range(len(moved)) if row not in leaving | dead | finished])
    step = Step(
        slots=moved.numbers,
        taken=moved.taken,
        parameterization=ascent.parameterization,
        parameters=moved.parameters,
        stepped=batch.numbers,
        values=result.values,
        ended=ended,
    )
    return moved, step, limit


def run_pass(classifier: Classifier, ascent: Ascent, batch: Batch, rows: slice) -> PassResult:
    """Computes objective and gradient for some rows of a batch.

    Args:
        classifier: The network.
        ascent: The settings.
        batch: The slots.
        rows: The rows that go through the network together.

    Returns:
        The results of these rows.
    """
    steps = zip(batch.random[rows], batch.taken[rows], strict=True)
    random = pin(torch.stack([numbers[taken] for numbers, taken in steps]), batch.targets)  # (N, views · draws)
    targets = batch.targets[rows]
    parameters = batch.parameters[rows].detach().requires_grad_()
    images = ascent.parameterization.image(parameters)  # (N, C, H, W)
    leaf = images.detach().requires_grad_()
    views = torch.cat([ascent.transform(leaf, numbers) for numbers in random.chunk(ascent.views, 1)])
    outputs = classifier.forward(
        classifier.normalize(views), ascent.objective.layers, relaxed=ascent.relaxed, optional=ascent.feature_layers
    )
    values = ascent.objective(outputs, targets.repeat(ascent.views)).view(ascent.views, -1).mean(0)  # (N,)
    feature_penalties = ascent.penalize_features(batch.weights[rows], outputs)  # (N,)
    # Regularizers have a gradient even if the score has none: only the objective's gradient tells that a slot is stuck.
    checked = torch.tensor([ascent.features is not None and due for due in list_due(batch)[rows]])
    alone = compute_gradients(values.sum(), [leaf], keep=True)[0] if checked.any() else None  # (N, C, H, W)
    (image_gradient,) = compute_gradients((values - feature_penalties).sum(), [leaf])  # (N, C, H, W)
    steepest = image_gradient.flatten(1).abs().amax(1)
    if alone is not None:
        steepest = torch.where(to_device(checked, steepest), alone.flatten(1).abs().amax(1), steepest)
    scores = outputs.scores[: len(targets)].detach()
    broken = ~(steepest.isfinite() & values.detach().isfinite() & scores.isfinite().all(1))
    stuck = broken | (steepest == 0)
    image_gradient = torch.where(stuck[:, None, None, None], 0, image_gradient)
    penalties = ascent.penalize(batch.weights[rows], parameters, images)
    (gradient,) = torch.autograd.grad((image_gradient * images).sum() - penalties.sum(), parameters)
    values = values.detach()
    return PassResult(
        values=values,
        penalized=values - feature_penalties.detach() - penalties.detach(),
        # Always in the same memory layout: the optimizer's kernels round differently for another one.
        gradient=gradient.contiguous(),
        stuck=stuck,
        broken=broken,
        scores=scores,
    )


def list_due(batch: Batch) -> list[bool]:
    """Whether each slot may be restarted after its next step: after the first one, the last one, and some between."""
    counts = zip(batch.taken, batch.steps, strict=True)
    return [taken + 1 in (1, steps) or not (taken + 1) % RESTART_EVERY for taken, steps in counts]


def _blur_if_due(ascent: Ascent, batch: Batch) -> Batch:
    every, radius = ascent.blur
    due = [bool(every) and (taken + 1) % every == 0 for taken in batch.taken]
    if not any(due):
        return batch
    images = blur(ascent.parameterization.image(batch.parameters), radius)
    blurred = ascent.quantize(ascent.parameterization.parameters(images))
    chosen = column(to_device(torch.tensor(due), batch.targets), blurred)
    return replace(batch, parameters=torch.where(chosen, blurred, batch.parameters))


def _move(ascent: Ascent, batch: Batch, result: PassResult) -> Batch:
    factors = [schedule(taken + 1) for schedule, taken in zip(batch.schedules, batch.taken, strict=True)]
    rates = batch.rates * to_device(column(torch.tensor(factors), batch.parameters), batch.rates)
    change, optimizer = batch.optimizer.step(result.gradient, rates)
    parameters = ascent.project(ascent.quantize(batch.parameters + change), batch.origins)
    return replace(batch, parameters=parameters, optimizer=optimizer, taken=tuple(taken + 1 for taken in batch.taken))


def _restart(
    classifier: Classifier, ascent: Ascent, batch: Batch, result: PassResult, due: Collection[int]
) -> tuple[Batch, dict[int, Reason]]:
    """Restarts stuck slots whose turn it is; returns the batch, and the rows that are given up."""
    rows = [row for row in list_rows(result.stuck) if row in due] if due else []
    restarts, parameters = list(batch.restarts), batch.parameters.clone() if rows else batch.parameters
    for row in rows:
        restarts[row] += 1
        seed = batch.slots[row].seed + RESTART_SEED * restarts[row]
        noise = Normal(RESTART_NOISE)(ascent.parameterization, (classifier.channels, *ascent.size), [seed])
        origin = batch.origins[row : row + 1]
        parameters[row] = ascent.project(ascent.quantize(noise.to(parameters)), origin)[0]
    given_up = [row for row in rows if batch.taken[row] == batch.steps[row] or restarts[row] > ascent.restarts]
    broken = list_rows(result.broken) if given_up else []
    reasons: dict[int, Reason] = {row: "not_finite" if row in broken else "dead" for row in given_up}
    return replace(batch, parameters=parameters, restarts=tuple(restarts)), reasons


def _finish(classifier: Classifier, ascent: Ascent, batch: Batch, rows: Sequence[int]) -> tuple[End, ...]:
    """Results of the rows that have taken all their steps."""
    if not rows:
        return ()
    batch = batch.take(rows)
    if ascent.keep_best:
        batch, _ = check(classifier, ascent, batch)
    return _end(ascent, batch, dict.fromkeys(range(len(batch)), "steps"))


def _end(ascent: Ascent, batch: Batch, leaving: Mapping[int, Reason]) -> tuple[End, ...]:
    """Results of the rows that leave: the best image if that is kept, else the current one.

    A row without a finite image, or of which no evaluation was finite, leaves as `not_finite`.
    """
    if not leaving:
        return ()
    gone = batch.take(list(leaving))
    images = ascent.parameterization.image(gone.best if ascent.keep_best else gone.parameters).float()
    if ascent.as_saved and ascent.stays_near_origin:
        images = ascent.round_as_saved(images, gone.origins)
    steps = gone.best_step.tolist() if ascent.keep_best else gone.taken
    finite = images.flatten(1).isfinite().all(1)
    if ascent.keep_best:
        finite &= gone.best_penalized.isfinite()
    reasons: list[Reason] = [
        reason if is_finite or reason in FAILURES else "not_finite"
        for is_finite, reason in zip(finite.tolist(), leaving.values(), strict=True)
    ]
    return tuple(map(End, gone.numbers, images.cpu(), steps, reasons))


def _without(leaving: Mapping[int, Reason], excluded: Collection[int]) -> dict[int, Reason]:
    """The rows that leave, without some of them."""
    return {row: reason for row, reason in leaving.items() if row not in excluded}
