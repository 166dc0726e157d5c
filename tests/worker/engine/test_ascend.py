"""The loop against a slow, literal one, and what it promises for every network."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.networks import Functional, Small, seeded
from worker.engine.ascend import ascend
from worker.engine.ascent import Ascent, End, Slot, Step
from worker.engine.classifier import open_classifier
from worker.engine.image import BoundedPixels
from worker.engine.objective import Channel
from worker.engine.octaves import ascend_octaves
from worker.engine.optimizer import Adam
from worker.engine.prior import l2
from worker.engine.spectrum import Fourier
from worker.engine.start import Normal, start_zero
from worker.engine.transform import Chain, Window

CPU = torch.device("cpu")
MEAN, STD, SIZE = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3], (16, 20)


def opened(network: nn.Module):
    return open_classifier(network, mean=MEAN, std=STD, size=SIZE, device=CPU)


def slots(*targets: int) -> list[Slot]:
    return [Slot(target, seed=target, rate=0.1, weights=(0.001,)) for target in targets]


PLAIN = Ascent(
    steps=12,
    image=BoundedPixels(),
    size=SIZE,
    start=Normal(0.01),
    optimizer=Adam.start,
    transform=Chain(SIZE),
    priors=(l2,),
)
WINDOWS = replace(PLAIN, image=Fourier((24, 28)), size=(24, 28), transform=Window(SIZE, (0.7, 1.5), 20), steps=20)


def ends(steps: list[Step]) -> dict[int, End]:
    return {end.slot: end for step in steps for end in step.ended}


def climb(network: nn.Module, ascent: Ascent, climbing: list[Slot], **options: int) -> list[Step]:
    with opened(network) as classifier:
        return list(ascend(classifier, ascent, climbing, **options))


@pytest.mark.parametrize("tail", [nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.Softmax(1)])
def test_the_score_climbs_whatever_the_network_does_to_it_afterwards(tail: nn.Module) -> None:
    steps = climb(seeded(Small, tail=tail), PLAIN, slots(0, 3, 4))
    assert (steps[-1].values > steps[0].values).all()
    assert {end.reason for end in ends(steps).values()} == {"steps"}


def test_the_network_is_given_back_as_it_was() -> None:
    network = seeded(Small).train()
    network.classifier.eval()
    network.features[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with opened(network) as classifier:
        assert not network.training
        list(ascend(classifier, replace(PLAIN, objective=Channel("features", 1)), slots(1)))
    assert network.training
    assert not network.classifier.training
    assert [name for name, weight in network.named_parameters() if not weight.requires_grad] == ["features.0.weight"]
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("ascent", [PLAIN, WINDOWS, replace(WINDOWS, views=3)], ids=["plain", "windows", "views"])
def test_a_target_does_not_notice_its_company(ascent: Ascent) -> None:
    alone = climb(seeded(Small), ascent, slots(3))
    crowd = climb(seeded(Small), ascent, slots(*[0, 1, 2, 3, 4, 0, 1, 2] * 4))
    torch.testing.assert_close(crowd[-1].values[3], alone[-1].values[0], rtol=0.02, atol=0)
    difference = (ends(crowd)[3].picture - ends(alone)[0].picture).abs()
    assert difference.max() < 1e-3  # a quarter of what eight bits can tell


def test_the_same_ascent_twice_gives_the_same_bits() -> None:
    one, two = (climb(seeded(Functional), WINDOWS, slots(0, 4)) for _ in range(2))
    assert torch.equal(one[-1].ended[1].picture, two[-1].ended[1].picture)


def test_each_slot_climbs_at_its_own_rate_with_its_own_weights() -> None:
    fast = Slot(target=2, seed=2, rate=0.3, weights=(0.0,))
    held = Slot(target=2, seed=2, rate=0.3, weights=(10.0,))
    found = ends(climb(seeded(Small), PLAIN, [*slots(2), fast, held]))
    deviation = [float((found[slot].picture - 0.5).abs().mean()) for slot in range(3)]
    assert deviation[2] < deviation[0] < deviation[1]


class DeadOnGrey(nn.Module):
    """Has no gradient near grey, for class 0; never has any, for class 1; always has one, for class 2."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x.mean((1, 2, 3))
        loud = torch.nn.functional.threshold(x.abs(), 0.3, 0.0).mean((1, 2, 3))
        return torch.stack([loud * 1.0, scores * 0.0, scores], 1) * torch.ones(3)


@pytest.mark.parametrize("steps", [2, 8, 40])
def test_a_dead_target_is_started_again_and_given_up_only_if_that_does_not_help(steps: int) -> None:
    with open_classifier(DeadOnGrey(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, tail=type(classifier.tail)())
        taken = list(ascend(classifier, replace(PLAIN, steps=steps, start=start_zero), slots(0, 1, 2)))
    found = ends(taken)
    assert [found[slot].reason for slot in range(3)] == ["steps", "dead", "steps"]
    assert found[0].picture.std() > 0.02
    if steps == 40:
        assert taken[30].slots == (0, 2)  # who is given up leaves, and does not hold the others up


def test_a_score_that_is_not_a_number_kills_its_own_slot_alone() -> None:
    class Poisoned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            poison = torch.tensor([1.0, float("nan")])[: len(x), None]
            return x.mean((2, 3)) * poison

    with open_classifier(Poisoned(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        found = ends(list(ascend(classifier, PLAIN, slots(0, 1))))
    assert [found[slot].reason for slot in range(2)] == ["steps", "dead"]
    assert found[0].picture.isfinite().all()


class Cramped(Small):
    """Has memory for three pictures."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_when_memory_runs_out_the_batch_goes_on_in_halves_to_the_same_pictures() -> None:
    cramped = ends(climb(seeded(Cramped), PLAIN, slots(0, 1, 2, 3, 4, 0, 1)))
    roomy = ends(climb(seeded(Small), PLAIN, slots(0, 1, 2, 3, 4, 0, 1)))
    assert len(cramped) == 7
    for slot, end in cramped.items():
        torch.testing.assert_close(end.picture, roomy[slot].picture, atol=1e-4, rtol=1e-4)


def test_no_more_than_asked_go_through_the_network_at_a_time() -> None:
    assert len(ends(climb(seeded(Cramped), PLAIN, slots(0, 1, 2, 3, 4), at_once=3))) == 5


class Brightness(nn.Module):
    """Scores of two classes: bright, and dark."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3))
        return torch.stack([bright, -bright], 1) * torch.ones(2)


def bright(ascent: Ascent, climbing: list[Slot]) -> list[Step]:
    with open_classifier(Brightness(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, tail=type(classifier.tail)())
        return list(ascend(classifier, ascent, climbing))


def test_who_has_arrived_leaves_and_the_others_climb_on() -> None:
    quick, slow = Slot(0, 0, rate=1.0), Slot(1, 1, rate=0.1)
    steps = bright(replace(PLAIN, priors=(), steps=60, stop_probability=0.8, look_every=1), [quick, slow])
    found = ends(steps)
    assert [found[slot].reason for slot in (0, 1)] == ["probability", "probability"]
    assert found[0].steps < found[1].steps < 60
    assert steps[found[0].steps].slots == (1,)
    assert len(steps) == found[1].steps + 1
    chance = torch.stack([found[0].picture.mean() - 0.5, 0.5 - found[0].picture.mean()]).div(0.25).softmax(0)[0]
    assert 0.8 < chance < 0.95


def test_a_plateau_is_left() -> None:
    held = Slot(0, 0, rate=0.5, weights=(0.01,))  # L2 stops it
    steps = bright(replace(PLAIN, steps=2000, stop_plateau=30, look_every=5), [held])
    assert steps[-1].ended[0].reason == "plateau"
    assert len(steps) < 1000


def test_the_best_picture_is_the_one_without_transforms_that_was_worth_most() -> None:
    wild = Slot(0, 0, rate=1.0, weights=(0.0005,))  # so large a step overshoots again and again
    ascent = replace(PLAIN, steps=25, look_every=1, keep_best=True)
    best, last = bright(ascent, [wild])[-1].ended[0], bright(replace(ascent, keep_best=False), [wild])[-1].ended[0]

    def worth(picture: Tensor) -> float:
        return float((picture.mean() - 0.5) / 0.25 - 0.0005 * torch.logit(picture, eps=1e-9).square().sum())

    assert worth(best.picture) > worth(last.picture)
    assert worth(best.picture) > worth(torch.full((3, *SIZE), 0.5)) + 0.2
    assert 0 < best.steps < 25


def test_octaves_carry_the_picture_from_a_small_canvas_to_a_large_one() -> None:
    small = replace(PLAIN, image=Fourier((16, 20)), steps=15)
    large = replace(small, image=Fourier((24, 28)), size=(24, 28), steps=10)
    with opened(seeded(Small)) as classifier:
        steps = list(ascend_octaves(classifier, [small, large], slots(1, 2)))
        cold = list(ascend(classifier, large, slots(1, 2)))
    assert (len(steps), steps[20].taken) == (25, (21, 21))
    assert ends(steps)[0].picture.shape == (3, 24, 28)
    assert ends(steps)[1].steps == 25
    assert (steps[15].values > cold[0].values).all()


def test_who_leaves_an_octave_early_has_ended() -> None:
    ascent = replace(PLAIN, priors=(), steps=30, stop_probability=0.8, look_every=1)
    with open_classifier(Brightness(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, tail=type(classifier.tail)())
        climbing = [Slot(0, 0, rate=1.0), Slot(1, 1, rate=0.001)]
        found = ends(list(ascend_octaves(classifier, [ascent, ascent], climbing)))
    assert (found[0].reason, found[1].reason, found[1].steps) == ("probability", "steps", 60)
