"""Gradient ascent on pictures: the one loop that every class model goes through."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.image import Image
from worker.engine.optimizer import Optimizer
from worker.engine.start import Start, start_noise
from worker.engine.transform import Transform

RESTARTS = 3
"""How often a target without a gradient is started again before it is given up."""

RESTART_SEED, DRAW_SEED = 1_000_003, 500_009
"""Added to a slot's seed where it draws for another purpose."""

RESTART_NOISE = 0.3
"""Standard deviation of a restart's noise: loud, because the quiet start had no gradient."""


@dataclass(frozen=True)
class Ascent:
    """A batch of targets, and how to climb.

    Attributes:
        targets: Class indices, one per slot.
        seeds: Of each slot's randomness.
        steps: How many steps to take.
        rates: Step size per slot.
        l2: λ per slot, of the penalty on the picture's deviation (Simonyan et al. 2013, equation 1).
        image: How the pictures are written down.
        size: Height and width of the pictures in pixels.
        transform: What the network is shown of them at each step.
        start: Where each slot begins.
        optimizer: Gives the optimiser's empty memory for some parameters.
    """

    targets: Sequence[int]
    seeds: Sequence[int]
    steps: int
    rates: Sequence[float]
    l2: Sequence[float]
    image: Image
    size: tuple[int, int]
    transform: Transform
    start: Start
    optimizer: Callable[[Tensor], Optimizer]


@dataclass(frozen=True)
class Step:
    """The batch after a step. Tensors stay on the device; nothing waits for it unless they are read.

    Attributes:
        index: Steps taken.
        parameters: (N, …).
        scores: Each target's score before this step, before a final softmax or ReLU: (N,).
        dead: Slots whose gradient was zero or not finite however often they were started again: (N,), bool.
    """

    index: int
    parameters: Tensor
    scores: Tensor
    dead: Tensor


def ascend(classifier: Classifier, ascent: Ascent) -> Iterator[Step]:
    """Climbs the targets' scores, each in its own slot, all in one batch.

    Maximises S_c(I) − λ‖I‖² (Simonyan et al. 2013, arXiv 1312.6034, equation 1), where ‖I‖ is what the way of writing
    I down calls its deviation. A slot whose gradient is zero or not finite is started again from louder noise, and
    marked as dead if that does not help; the other slots never notice.

    Yields:
        The batch after every step; the caller decides what to keep, when to report, and when to stop.
    """
    device = classifier.device
    shape = ascent.image.shape(len(classifier.mean), *ascent.size)
    parameters = ascent.start(shape, ascent.seeds).to(device)
    targets = torch.tensor(ascent.targets, device=device)
    rates = _per_slot(ascent.rates, parameters)
    l2 = torch.tensor(ascent.l2, device=device)
    random = _draw(ascent).to(device)  # (steps, N, draws)
    optimizer = ascent.optimizer(parameters)
    restarts = torch.zeros(len(targets), dtype=torch.int64, device=device)
    for index in range(1, ascent.steps + 1):
        show = partial(ascent.transform, random=random[index - 1])
        scores, gradient, stuck = climb(classifier, ascent.image, show, parameters, targets, l2)
        change, optimizer = optimizer.step(gradient, rates)
        parameters = parameters + change
        if stuck.any():
            restarts += stuck
            parameters = _restart(parameters, stuck & (restarts <= RESTARTS), ascent.seeds, restarts)
        yield Step(index, parameters, scores, restarts > RESTARTS)


def climb(
    classifier: Classifier,
    image: Image,
    show: Callable[[Tensor], Tensor],
    parameters: Tensor,
    targets: Tensor,
    l2: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The scores (N,), the gradient (N, …) to climb by, and which slots have none (N,)."""
    parameters = parameters.detach().requires_grad_()
    pictures = image.picture(parameters)  # (N, C, H, W)
    seen = pictures.detach().requires_grad_()
    scores = classifier.unclamped_scores(classifier.normalise(show(seen))).gather(1, targets[:, None]).squeeze(1)
    (slope,) = torch.autograd.grad(scores.sum(), seen)
    # The network's slope alone tells whether a slot is stuck: a prior pulls even where the score is flat.
    stuck = ~(slope.flatten(1).abs().amax(1) > 0) | ~slope.flatten(1).isfinite().all(1)
    slope = torch.where(stuck[:, None, None, None], 0, slope)
    penalty = l2 * image.deviation(parameters, pictures).square().flatten(1).sum(1)  # (N,)
    (gradient,) = torch.autograd.grad((slope * pictures).sum() - penalty.sum(), parameters)
    return scores.detach(), gradient, stuck


def _draw(ascent: Ascent) -> Tensor:
    """The transforms' random numbers for all steps (steps, N, draws), each slot's from its own seed."""
    shape = (ascent.steps, ascent.transform.draws)
    drawn = [torch.rand(shape, generator=torch.Generator().manual_seed(seed + DRAW_SEED)) for seed in ascent.seeds]
    return torch.stack(drawn, 1)


def _restart(parameters: Tensor, stuck: Tensor, seeds: Sequence[int], restarts: Tensor) -> Tensor:
    fresh = parameters.clone()
    for slot in stuck.nonzero().flatten().tolist():
        seed = seeds[slot] + RESTART_SEED * int(restarts[slot])
        fresh[slot] = start_noise(tuple(parameters.shape[1:]), [seed], scale=RESTART_NOISE)[0].to(parameters)
    return fresh


def _per_slot(values: Sequence[float], parameters: Tensor) -> Tensor:
    """One value per slot in the shape that multiplies the parameters: (N, 1, …)."""
    ones = [1] * (parameters.ndim - 1)
    return torch.tensor(values, dtype=torch.float32, device=parameters.device).reshape(-1, *ones)
