"""Gradient ascent on pictures: the one loop that every class model goes through."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.image import Image
from worker.engine.optimizer import Optimizer
from worker.engine.start import Start, start_noise

RESTARTS = 3
"""How often a target without a gradient is started again before it is given up."""

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
        l2: λ per slot, of the penalty λ‖θ‖² on the parameters (Simonyan et al. 2013, equation 1).
        image: How the pictures are written down.
        start: Where each slot begins.
        optimizer: Gives the optimiser's empty memory for some parameters.
    """

    targets: Sequence[int]
    seeds: Sequence[int]
    steps: int
    rates: Sequence[float]
    l2: Sequence[float]
    image: Image
    start: Start
    optimizer: Callable[[Tensor], Optimizer]


@dataclass(frozen=True)
class Step:
    """The batch after a step. Tensors stay on the device; nothing waits for it unless they are read.

    Attributes:
        index: Steps taken.
        parameters: (N, C, H, W).
        scores: Each target's score before this step, before a final softmax or ReLU: (N,).
        dead: Slots whose gradient was zero or not finite however often they were started again: (N,), bool.
    """

    index: int
    parameters: Tensor
    scores: Tensor
    dead: Tensor


def ascend(classifier: Classifier, ascent: Ascent) -> Iterator[Step]:
    """Climbs the targets' scores, each in its own slot, all in one batch.

    Maximises S_c(I) − λ‖θ‖² (Simonyan et al. 2013, arXiv 1312.6034, equation 1), where I is the picture that the
    parameters θ write down. A slot whose gradient is zero or not finite is started again from louder noise, and
    marked as dead if that does not help; the other slots never notice.

    Yields:
        The batch after every step; the caller decides what to keep, when to report, and when to stop.
    """
    device = classifier.device
    shape = (len(classifier.mean), *classifier.size)
    targets = torch.tensor(ascent.targets, device=device)
    rates = _per_slot(ascent.rates, device)
    l2 = _per_slot(ascent.l2, device)
    parameters = ascent.start(shape, ascent.seeds).to(device)
    optimizer = ascent.optimizer(parameters)
    restarts = torch.zeros(len(targets), dtype=torch.int64, device=device)
    for index in range(1, ascent.steps + 1):
        scores, gradient, stuck = climb(classifier, ascent.image, parameters, targets, l2)
        change, optimizer = optimizer.step(gradient, rates)
        parameters = parameters + change
        if stuck.any():
            restarts += stuck
            parameters = _restart(parameters, stuck & (restarts <= RESTARTS), ascent.seeds, restarts)
        yield Step(index, parameters, scores, restarts > RESTARTS)


def climb(
    classifier: Classifier, image: Image, parameters: Tensor, targets: Tensor, l2: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The scores (N,) and the gradient (N, C, H, W) to climb them by, and which slots have none (N,)."""
    parameters = parameters.detach().requires_grad_()
    pictures = image.picture(parameters)  # (N, C, H, W)
    seen = pictures.detach().requires_grad_()
    scores = classifier.unclamped_scores(classifier.normalise(seen)).gather(1, targets[:, None]).squeeze(1)  # (N,)
    (slope,) = torch.autograd.grad(scores.sum(), seen)
    # The network's slope alone tells whether a slot is stuck: a prior pulls even where the score is flat.
    stuck = ~(slope.flatten(1).abs().amax(1) > 0) | ~slope.flatten(1).isfinite().all(1)
    slope = torch.where(stuck[:, None, None, None], 0, slope)
    (gradient,) = torch.autograd.grad(pictures, parameters, slope)
    return scores.detach(), gradient - 2 * l2 * parameters.detach(), stuck


def _restart(parameters: Tensor, stuck: Tensor, seeds: Sequence[int], restarts: Tensor) -> Tensor:
    fresh = parameters.clone()
    channels, height, width = parameters.shape[1:]
    for slot in stuck.nonzero().flatten().tolist():
        seed = seeds[slot] + 1_000_003 * int(restarts[slot])
        fresh[slot] = start_noise((channels, height, width), [seed], scale=RESTART_NOISE)[0].to(parameters)
    return fresh


def _per_slot(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1, 1)  # (N, 1, 1, 1)
