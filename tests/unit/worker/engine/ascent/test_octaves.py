"""A batch that slots join and leave between steps: the image of a slot does not depend on the other slots."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.networks import Small, seeded
from worker.engine.ascent.config import Ascent, End, Slot
from worker.engine.ascent.fourier import Fourier
from worker.engine.ascent.initial import Given, Normal
from worker.engine.ascent.octaves import RunningBatch, SlotPlan, ascend_octaves
from worker.engine.ascent.optimizers import SGD, Adam, NAdam, RMSProp
from worker.engine.ascent.parameterization import BoundedPixels, Pixels
from worker.engine.ascent.regularizers.image import l2
from worker.engine.ascent.schedules import Cosine
from worker.engine.ascent.transforms import Chain, Window, fit
from worker.engine.blur import blur
from worker.engine.model.classifier import Classifier, open_classifier

CPU = torch.device("cpu")
SIZE = (16, 20)
PLAIN = Ascent(
    steps=12, parameterization=BoundedPixels(), size=SIZE, start=Normal(0.01), optimizer=Adam.start,
    transform=Chain(SIZE), regularizers=(l2,), schedule=Cosine(12),
)  # fmt: skip
WINDOWS = replace(PLAIN, parameterization=Fourier((24, 28)), size=(24, 28), transform=Window(SIZE, (0.7, 1.5), 20))
BEST = replace(WINDOWS, keep_best=True, check_every=3, stop_plateau=8)
BLURRED = replace(PLAIN, blur=(4, 1.0), optimizer=NAdam.start, eight_bits=True)
WAYS = {
    "plain": [PLAIN],
    "windows": [WINDOWS],
    "best": [BEST],
    "blurred": [BLURRED],
    "sgd": [replace(PLAIN, optimizer=SGD.start)],
    "rmsprop": [replace(PLAIN, optimizer=RMSProp.start)],
    "octaves": [replace(WINDOWS, parameterization=Fourier(SIZE), size=SIZE, steps=5), replace(WINDOWS, steps=7)],
}


@pytest.fixture
def classifier() -> Classifier:
    with open_classifier(seeded(Small), mean=[0.4] * 3, std=[0.2] * 3, size=SIZE, device=CPU) as opened:
        yield opened


def slot(number: int) -> Slot:
    return Slot(number % 5, seed=number, rate=0.05 + 0.01 * number, weights=(0.001,))


def plans(way: Sequence[Ascent], *numbers: int) -> dict[int, SlotPlan]:
    return {number: SlotPlan(slot(number), way) for number in numbers}


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
    close = torch.allclose(one.image, other.image, atol=1e-5, rtol=0)
    return close and (one.steps, one.reason) == (other.steps, other.reason)


@pytest.mark.parametrize("way", WAYS)
def test_a_slot_that_joins_late_has_the_image_that_it_has_alone(classifier: Classifier, way: str) -> None:
    running, ends = RunningBatch(classifier, at_once=8), {}
    for number in range(5):
        running.join(plans(WAYS[way], number))
        for step in (step for _ in range(2) for step in running.step()):
            ends |= {end.slot: end for end in step.ended}
    ends |= run_out(running)
    assert all(is_same(ends[number], alone(classifier, WAYS[way], number)) for number in range(5))


def test_jobs_of_different_lengths_and_schedules_share_a_batch(classifier: Classifier) -> None:
    long = [replace(WINDOWS, steps=20, schedule=Cosine(20, 3))]
    running = RunningBatch(classifier, at_once=8)
    running.join(plans([WINDOWS], 0, 1))
    running.join(plans(long, 7))
    ends = run_out(running)
    assert is_same(ends[1], alone(classifier, [WINDOWS], 1))
    assert is_same(ends[7], alone(classifier, long, 7))
    assert (ends[1].steps, ends[7].steps) == (12, 20)


def test_slots_that_leave_do_not_change_the_others(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join(plans([WINDOWS], *range(4)))
    running.step()
    running.leave({0, 2})
    assert set(running.numbers) == {1, 3}
    ends = run_out(running)
    assert set(ends) == {1, 3}
    assert is_same(ends[3], alone(classifier, [WINDOWS], 3))


def test_some_slots_may_step_while_the_others_wait(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join(plans([WINDOWS], *range(3)))
    assert [step.stepped for step in running.step({1})] == [(1,)]
    assert is_same(run_out(running)[0], alone(classifier, [WINDOWS], 0))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [1, 6])
def test_a_restored_slot_has_the_image_of_one_that_was_never_interrupted(
    classifier: Classifier, way: str, steps: int
) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join(plans(WAYS[way], 0, 1))
    for _ in range(steps):
        running.step()
    buffer = io.BytesIO()
    torch.save(running.states({1}), buffer)
    buffer.seek(0)
    other = RunningBatch(classifier, at_once=8)
    other.join({5: SlotPlan(slot(3), WAYS[way])})
    other.restore(plans(WAYS[way], 1), torch.load(buffer, weights_only=True))
    assert is_same(run_out(other)[1], alone(classifier, WAYS[way], 1))


@pytest.mark.parametrize("steps", [3, 5, 9])
def test_a_restored_slot_gets_the_detail_of_its_image_back_in_the_next_octave(
    classifier: Classifier, steps: int
) -> None:
    image = torch.rand(3, 24, 28, generator=torch.Generator().manual_seed(1))
    large = replace(PLAIN, parameterization=Pixels(torch.zeros(3, 1, 1), torch.ones(3, 1, 1)), size=(24, 28), steps=7)
    small = replace(large, size=SIZE, steps=5, start=Given(fit(image[None], SIZE)))
    plan = {0: SlotPlan(slot(0), [small, large], image)}
    whole, running, resumed = (RunningBatch(classifier, at_once=8) for _ in range(3))
    whole.join(plan)
    running.join(plan)
    for _ in range(steps):
        running.step()
    resumed.restore(plan, running.states({0}))
    ends = [run_out(batch)[0] for batch in (whole, resumed)]
    assert torch.equal(ends[0].image, ends[1].image)
    detail = image - fit(fit(image[None], SIZE), (24, 28))[0]
    plain = RunningBatch(classifier, at_once=8)
    plain.join({0: SlotPlan(slot(0), [small, large])})
    lost = run_out(plain)[0].image
    assert ((ends[1].image - lost) * detail).sum() > 0.5 * detail.square().sum()


def test_a_step_can_be_reduced_to_some_of_its_slots(classifier: Classifier) -> None:
    running = RunningBatch(classifier, at_once=8)
    running.join(plans([WINDOWS], *range(3)))
    (step,) = running.step()
    part = step.of({0: 7, 2: 8})
    assert (part.slots, part.stepped, part.taken) == ((7, 8), (7, 8), (1, 1))
    assert torch.equal(part.images(), step.images([0, 2]))
    assert torch.equal(part.values, step.values[[0, 2]])


def test_every_slot_is_blurred_at_its_own_steps(classifier: Classifier) -> None:
    def difference(pictures: Tensor) -> Tensor:
        return (pictures - blur(pictures, 1.0)).abs().mean()

    running = RunningBatch(classifier, at_once=8)
    running.join(plans([BLURRED], 0))
    (first,) = running.step()
    assert difference(first.images()) > 0
    running.join(plans([BLURRED], 1))
    assert is_same(run_out(running)[1], alone(classifier, [BLURRED], 1))
