"""A batch that slots join and leave between steps: each comes to the same picture, whoever else is there."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.networks import Small, seeded
from worker.engine.ascent import Ascent, End, Slot
from worker.engine.blur import blur
from worker.engine.classifier import Classifier, open_classifier
from worker.engine.image import BoundedPixels
from worker.engine.octaves import RunningBatch, ascend_octaves
from worker.engine.optimizer import SGD, Adam, NAdam, RMSProp
from worker.engine.prior import l2
from worker.engine.schedule import Cosine
from worker.engine.spectrum import Fourier
from worker.engine.start import Normal
from worker.engine.transform import Chain, Window

CPU = torch.device("cpu")
SIZE = (16, 20)
PLAIN = Ascent(
    steps=12, image=BoundedPixels(), size=SIZE, start=Normal(0.01), optimizer=Adam.start, transform=Chain(SIZE),
    priors=(l2,), schedule=Cosine(12),
)  # fmt: skip
WINDOWS = replace(PLAIN, image=Fourier((24, 28)), size=(24, 28), transform=Window(SIZE, (0.7, 1.5), 20))
BEST = replace(WINDOWS, keep_best=True, look_every=3, stop_plateau=8)
BLURRED = replace(PLAIN, blur=(4, 1.0), optimizer=NAdam.start, eight_bits=True)
WAYS = {
    "plain": [PLAIN],
    "windows": [WINDOWS],
    "best": [BEST],
    "blurred": [BLURRED],
    "sgd": [replace(PLAIN, optimizer=SGD.start)],
    "rmsprop": [replace(PLAIN, optimizer=RMSProp.start)],
    "octaves": [replace(WINDOWS, image=Fourier(SIZE), size=SIZE, steps=5), replace(WINDOWS, steps=7)],
}


@pytest.fixture
def classifier() -> Classifier:
    with open_classifier(seeded(Small), mean=[0.4] * 3, std=[0.2] * 3, size=SIZE, device=CPU) as opened:
        yield opened


def slot(number: int) -> Slot:
    return Slot(number % 5, seed=number, rate=0.05 + 0.01 * number, weights=(0.001,))


def alone(classifier: Classifier, ascents: Sequence[Ascent], number: int) -> End:
    *_, last = ascend_octaves(classifier, ascents, [slot(number)])
    return last.ended[0]


def run_out(running: RunningBatch) -> dict[int, End]:
    ends: dict[int, End] = {}
    while running.numbers:
        ends |= {end.slot: end for step in running.step() for end in step.ended}
    return ends


def is_same(one: End, other: End) -> bool:
    # A batch of three of so small a network goes through another kernel, which rounds otherwise.
    close = torch.allclose(one.picture, other.picture, atol=1e-5, rtol=0)
    return close and (one.steps, one.reason) == (other.steps, other.reason)


@pytest.mark.parametrize("way", WAYS)
def test_who_joins_late_comes_to_the_picture_that_it_comes_to_alone(classifier: Classifier, way: str) -> None:
    running, ends = RunningBatch(classifier, at_once=8), {}
    for number in range(5):
        running.join(WAYS[way], {number: slot(number)})
        for step in (step for _ in range(2) for step in running.step()):
            ends |= {end.slot: end for end in step.ended}
    ends |= run_out(running)
    assert all(is_same(ends[number], alone(classifier, WAYS[way], number)) for number in range(5))


def test_jobs_of_different_lengths_and_schedules_share_a_batch(classifier: Classifier) -> None:
    long = [replace(WINDOWS, steps=20, schedule=Cosine(20, 3))]
    running = RunningBatch(classifier, at_once=8)
    running.join([WINDOWS], {0: slot(0), 1: slot(1)})
    running.join(long, {7: slot(7)})
    ends = run_out(running)
    assert is_same(ends[1], alone(classifier, [WINDOWS], 1))
    assert is_same(ends[7], alone(classifier, long, 7))
    assert (ends[1].steps, ends[7].steps) == (12, 20)


def test_who_leaves_is_not_missed(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join([WINDOWS], {number: slot(number) for number in range(4)})
    running.step()
    running.leave({0, 2})
    assert set(running.numbers) == {1, 3}
    ends = run_out(running)
    assert set(ends) == {1, 3}
    assert is_same(ends[3], alone(classifier, [WINDOWS], 3))


def test_some_may_step_while_the_others_wait(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join([WINDOWS], {number: slot(number) for number in range(3)})
    assert [step.climbed for step in running.step({1})] == [(1,)]
    assert is_same(run_out(running)[0], alone(classifier, [WINDOWS], 0))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [1, 6])
def test_what_was_put_away_goes_on_to_the_same_picture(classifier: Classifier, way: str, steps: int) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join(WAYS[way], {0: slot(0), 1: slot(1)})
    for _ in range(steps):
        running.step()
    buffer = io.BytesIO()
    torch.save(running.states({1}), buffer)
    buffer.seek(0)
    other = RunningBatch(classifier, at_once=8)
    other.join(WAYS[way], {5: slot(3)})
    other.restore(WAYS[way], {1: slot(1)}, torch.load(buffer, weights_only=True))
    assert is_same(run_out(other)[1], alone(classifier, WAYS[way], 1))


def test_a_step_can_be_seen_for_some_of_its_slots(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join([WINDOWS], {number: slot(number) for number in range(3)})
    (step,) = running.step()
    part = step.of({0: 7, 2: 8})
    assert (part.slots, part.climbed, part.taken) == ((7, 8), (7, 8), (1, 1))
    assert torch.equal(part.pictures(), step.pictures([0, 2]))
    assert torch.equal(part.values, step.values[[0, 2]])


def test_a_blur_is_each_slots_own(classifier: Classifier) -> None:
    def difference(pictures: Tensor) -> Tensor:
        return (pictures - blur(pictures, 1.0)).abs().mean()

    running = RunningBatch(classifier, at_once=8)
    running.join([BLURRED], {0: slot(0)})
    (first,) = running.step()
    assert difference(first.pictures()) > 0
    running.join([BLURRED], {1: slot(1)})
    assert is_same(run_out(running)[1], alone(classifier, [BLURRED], 1))
