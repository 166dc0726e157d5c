"""The ascent loop: independence of slots, restarts, early stopping, memory."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Functional, Small, seeded
from worker.engine.ascent.config import Ascent, End, Slot, Step
from worker.engine.ascent.fourier import Fourier
from worker.engine.ascent.initial import Normal, start_zero
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.objectives import Channel
from worker.engine.ascent.octaves import ascend_octaves
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.regularizers.image import l2
from worker.engine.ascent.transforms import Chain, Window
from worker.engine.model.classifier import open_classifier
from worker.engine.scores.reader import PLAIN_SCORES

CPU = torch.device("cpu")
MEAN, STD, SIZE = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3], (16, 20)


def opened(network: nn.Module):
    return open_classifier(network, mean=MEAN, std=STD, size=SIZE, device=CPU)


def make_slots(*targets: int) -> list[Slot]:
    return [Slot(target, seed=target, rate=0.1, weights=(0.001,)) for target in targets]


PLAIN = Ascent(
    steps=12,
    parameterization=BoundedPixels(),
    size=SIZE,
    start=Normal(0.01),
    optimizer=Adam.start,
    transform=Chain(SIZE),
    regularizers=(l2,),
)
WINDOWS = replace(
    PLAIN, parameterization=Fourier((24, 28)), size=(24, 28), transform=Window(SIZE, (0.7, 1.5), 20), steps=20
)


def ends(steps: list[Step]) -> dict[int, End]:
    return {end.slot: end for step in steps for end in step.ended}


def run(network: nn.Module, ascent: Ascent, slots: list[Slot], **options: int) -> list[Step]:
    with opened(network) as classifier:
        return list(ascend(classifier, ascent, slots, **options))


@pytest.mark.parametrize("activation", [nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.Softmax(1)])
def test_the_score_rises_for_every_output_activation(activation: nn.Module) -> None:
    steps = run(seeded(Small, tail=activation), PLAIN, make_slots(0, 3, 4))
    assert (steps[-1].values > steps[0].values).all()
    assert {end.reason for end in ends(steps).values()} == {"steps"}


def test_an_ascent_leaves_the_network_unchanged() -> None:
    network = seeded(Small).train()
    network.classifier.eval()
    network.features[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with opened(network) as classifier:
        assert not network.training
        list(ascend(classifier, replace(PLAIN, objective=Channel("features", 1)), make_slots(1)))
    assert network.training
    assert not network.classifier.training
    assert [name for name, weight in network.named_parameters() if not weight.requires_grad] == ["features.0.weight"]
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("ascent", [PLAIN, WINDOWS, replace(WINDOWS, views=3)], ids=["plain", "windows", "views"])
def test_a_slots_image_does_not_depend_on_the_rest_of_the_batch(ascent: Ascent) -> None:
    alone = run(seeded(Small), ascent, make_slots(3))
    crowd = run(seeded(Small), ascent, make_slots(*[0, 1, 2, 3, 4, 0, 1, 2] * 4))
    torch.testing.assert_close(crowd[-1].values[3], alone[-1].values[0], rtol=0.02, atol=0)
    difference = (ends(crowd)[3].image - ends(alone)[0].image).abs()
    assert difference.max() < 1e-3  # a quarter of an 8-bit level


def test_the_same_ascent_gives_bit_identical_images() -> None:
    one, two = (run(seeded(Functional), WINDOWS, make_slots(0, 4)) for _ in range(2))
    assert torch.equal(one[-1].ended[1].image, two[-1].ended[1].image)


def test_each_slot_has_its_own_step_size_and_weights() -> None:
    unpenalized = Slot(target=2, seed=2, rate=0.3, weights=(0.0,))
    penalized = Slot(target=2, seed=2, rate=0.3, weights=(10.0,))
    results = ends(run(seeded(Small), PLAIN, [*make_slots(2), unpenalized, penalized]))
    deviation = [float((results[slot].image - 0.5).abs().mean()) for slot in range(3)]
    assert deviation[2] < deviation[0] < deviation[1]


class DeadOnGray(nn.Module):
    """Class 0 has no gradient near gray, class 1 never has one, class 2 always has one."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x.mean((1, 2, 3))
        bright = torch.nn.functional.threshold(x.abs(), 0.3, 0.0).mean((1, 2, 3))
        return torch.stack([bright * 1.0, scores * 0.0, scores], 1) * torch.ones(3)


@pytest.mark.parametrize("steps", [2, 8, 40])
def test_a_slot_without_gradient_is_restarted_and_given_up_only_if_restarts_do_not_help(steps: int) -> None:
    with open_classifier(DeadOnGray(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, reader=PLAIN_SCORES)
        taken = list(ascend(classifier, replace(PLAIN, steps=steps, start=start_zero), make_slots(0, 1, 2)))
    results = ends(taken)
    assert [results[slot].reason for slot in range(3)] == ["steps", "dead", "steps"]
    assert results[0].image.std() > 0.02
    if steps == 40:
        assert taken[30].slots == (0, 2)  # the dead slot has left, and the rest continue


class Poisoned(nn.Module):
    """Scores of two classes, dark and bright; for a bright image the second is not finite."""

    def __init__(self, poison: float) -> None:
        super().__init__()
        self.poison = poison

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3))
        scores = torch.where(bright < 0.02, bright, self.poison)
        return torch.stack([-bright, scores], 1) * torch.ones(2)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_slot_whose_scores_become_non_finite_ends_alone_with_this_reason(poison: float) -> None:
    def climb(*targets: int) -> dict[int, End]:
        network = Poisoned(poison)
        with open_classifier(network, mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
            classifier = replace(classifier, reader=PLAIN_SCORES)
            return ends(list(ascend(classifier, PLAIN, make_slots(*targets))))

    results, alone = climb(0, 1, 0), climb(0)
    assert [results[slot].reason for slot in range(3)] == ["steps", "not_finite", "steps"]
    torch.testing.assert_close(results[0].image, alone[0].image, atol=1e-6, rtol=0)


def test_a_gradient_of_nan_ends_a_slot_as_not_finite_and_a_gradient_of_zero_as_dead() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            bright = x.mean((1, 2, 3))
            return _NaNForFirst.apply(torch.stack([bright, bright * 0, bright], 1) * torch.ones(3))

    with open_classifier(Mixed(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        results = ends(list(ascend(classifier, PLAIN, make_slots(0, 1, 2))))
    assert [results[slot].reason for slot in range(3)] == ["not_finite", "dead", "steps"]


class _NaNForFirst(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return torch.where(gradient[:, :1] != 0, torch.nan, gradient)


def test_an_image_that_overflows_ends_its_slot_as_not_finite() -> None:
    ascent = replace(PLAIN, parameterization=Fourier(SIZE), regularizers=(), steps=6, restarts=0)
    slots = [Slot(0, seed=0, rate=0.1), Slot(1, seed=1, rate=3e38)]
    with opened(seeded(Small)) as classifier:
        results = ends(list(ascend(classifier, ascent, slots)))
    assert [results[slot].reason for slot in range(2)] == ["steps", "not_finite"]


def test_a_best_image_of_which_no_evaluation_was_finite_is_no_result() -> None:
    def penalize_without_end(deviation: Tensor) -> Tensor:
        return deviation.flatten(1).sum(1) * torch.nan

    ascent = replace(PLAIN, keep_best=True, regularizers=(penalize_without_end,), check_every=2)
    with opened(seeded(Small)) as classifier:
        (end,) = ends(list(ascend(classifier, ascent, make_slots(1)))).values()
    assert end.reason == "not_finite"


class Cramped(Small):
    """Runs out of memory with more than three images."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_when_memory_runs_out_an_ascent_continues_in_halves_to_the_same_images() -> None:
    cramped = ends(run(seeded(Cramped), PLAIN, make_slots(0, 1, 2, 3, 4, 0, 1)))
    roomy = ends(run(seeded(Small), PLAIN, make_slots(0, 1, 2, 3, 4, 0, 1)))
    assert len(cramped) == 7
    for slot, end in cramped.items():
        torch.testing.assert_close(end.image, roomy[slot].image, atol=1e-4, rtol=1e-4)


def test_no_more_slots_than_requested_go_through_the_network_at_once() -> None:
    assert len(ends(run(seeded(Cramped), PLAIN, make_slots(0, 1, 2, 3, 4), at_once=3))) == 5


def test_octaves_carry_the_image_from_a_small_canvas_to_a_large_one() -> None:
    small = replace(PLAIN, parameterization=Fourier((16, 20)), steps=15)
    large = replace(small, parameterization=Fourier((24, 28)), size=(24, 28), steps=10)
    with opened(seeded(Small)) as classifier:
        steps = list(ascend_octaves(classifier, [small, large], make_slots(1, 2)))
        cold = list(ascend(classifier, large, make_slots(1, 2)))
    assert (len(steps), steps[20].taken) == (25, (21, 21))
    assert ends(steps)[0].image.shape == (3, 24, 28)
    assert ends(steps)[1].steps == 25
    assert (steps[15].values > cold[0].values).all()
