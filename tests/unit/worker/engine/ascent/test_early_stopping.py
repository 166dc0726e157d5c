"""Early stopping and the choice of the best image."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from worker.engine.ascent.config import Ascent, End, Slot, Step
from worker.engine.ascent.initial import Normal
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.octaves import ascend_octaves
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.regularizers.image import l2
from worker.engine.ascent.transforms import Chain
from worker.engine.model.classifier import open_classifier
from worker.engine.scores.reader import PLAIN_SCORES

CPU = torch.device("cpu")
SIZE = (16, 20)
PLAIN = Ascent(
    steps=12,
    parameterization=BoundedPixels(),
    size=SIZE,
    start=Normal(0.01),
    optimizer=Adam.start,
    transform=Chain(SIZE),
    regularizers=(l2,),
)


def ends(steps: list[Step]) -> dict[int, End]:
    return {end.slot: end for step in steps for end in step.ended}


class Brightness(nn.Module):
    """Scores of two classes: bright, and dark."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3))
        return torch.stack([bright, -bright], 1) * torch.ones(2)


def maximize_brightness(ascent: Ascent, slots: list[Slot]) -> list[Step]:
    with open_classifier(Brightness(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, reader=PLAIN_SCORES)
        return list(ascend(classifier, ascent, slots))


def test_a_slot_that_reached_its_probability_leaves_and_the_rest_continue() -> None:
    quick, slow = Slot(0, 0, rate=1.0), Slot(1, 1, rate=0.1)
    steps = maximize_brightness(
        replace(PLAIN, regularizers=(), steps=60, stop_probability=0.8, check_every=1), [quick, slow]
    )
    results = ends(steps)
    assert [results[slot].reason for slot in (0, 1)] == ["probability", "probability"]
    assert results[0].steps < results[1].steps < 60
    assert steps[results[0].steps].slots == (1,)
    assert len(steps) == results[1].steps + 1
    probability = torch.stack([results[0].image.mean() - 0.5, 0.5 - results[0].image.mean()]).div(0.25).softmax(0)[0]
    assert 0.8 < probability < 0.95


def test_a_slot_on_a_plateau_stops() -> None:
    slot = Slot(0, 0, rate=0.5, weights=(0.01,))  # L2 stops it
    steps = maximize_brightness(replace(PLAIN, steps=2000, stop_plateau=30, check_every=5), [slot])
    assert steps[-1].ended[0].reason == "plateau"
    assert len(steps) < 1000


def test_the_best_image_has_the_largest_penalized_objective_without_transforms() -> None:
    wild = Slot(0, 0, rate=1.0, weights=(0.0005,))  # a step of this size overshoots again and again
    ascent = replace(PLAIN, steps=25, check_every=1, keep_best=True)
    best = maximize_brightness(ascent, [wild])[-1].ended[0]
    last = maximize_brightness(replace(ascent, keep_best=False), [wild])[-1].ended[0]

    def penalized(image: Tensor) -> float:
        return float((image.mean() - 0.5) / 0.25 - 0.0005 * torch.logit(image, eps=1e-9).square().sum())

    assert penalized(best.image) > penalized(last.image)
    assert penalized(best.image) > penalized(torch.full((3, *SIZE), 0.5)) + 0.2
    assert 0 < best.steps < 25


def test_a_slot_that_stops_early_in_an_octave_has_ended() -> None:
    ascent = replace(PLAIN, regularizers=(), steps=30, stop_probability=0.8, check_every=1)
    with open_classifier(Brightness(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, reader=PLAIN_SCORES)
        slots = [Slot(0, 0, rate=1.0), Slot(1, 1, rate=0.001)]
        results = ends(list(ascend_octaves(classifier, [ascent, ascent], slots)))
    assert (results[0].reason, results[1].reason, results[1].steps) == ("probability", "steps", 60)
