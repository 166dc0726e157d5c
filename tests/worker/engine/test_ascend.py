"""The loop against a slow, literal one, and what it promises for every network."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.networks import Functional, Small, seeded
from worker.engine.ascend import Ascent, Step, ascend
from worker.engine.classifier import Classifier, open_classifier
from worker.engine.image import BoundedPixels, Fourier, Pixels
from worker.engine.optimizer import SGD, Adam
from worker.engine.start import start_noise, start_zero
from worker.engine.transform import Whole, Window

CPU = torch.device("cpu")
MEAN, STD, SIZE = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3], (16, 20)


def opened(network: nn.Module):
    return open_classifier(network, mean=MEAN, std=STD, size=SIZE, device=CPU)


def plan(targets: list[int], *, steps: int = 12, rate: float = 0.1, l2: float = 0.001) -> Ascent:
    count = len(targets)
    return Ascent(
        targets=targets, seeds=targets, steps=steps, rates=[rate] * count, l2=[l2] * count,
        image=BoundedPixels(), size=SIZE, transform=Whole(), start=start_noise, optimizer=Adam.start,
    )  # fmt: skip


def last(classifier: Classifier, ascent: Ascent) -> Step:
    *_, step = ascend(classifier, ascent)
    return step


def test_the_papers_form_is_gradient_ascent_on_score_minus_l2_from_the_mean_picture() -> None:
    network = seeded(Small)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    with opened(network) as classifier:
        ascent = replace(
            plan([2], steps=5, rate=0.5, l2=0.02), image=Pixels(mean), start=start_zero, optimizer=lambda _: SGD()
        )
        ours = ascent.image.picture(last(classifier, ascent).parameters)[0]

        offset = torch.zeros(3, *SIZE)
        for _ in range(5):  # I <- I + rate * d(S_c(I) - lambda |I|^2)/dI, mean added back at the end
            offset = offset.detach().requires_grad_()
            score = network(((offset + mean - mean) / std)[None])[0, 2] - 0.02 * (offset**2).sum()
            score.backward()
            offset = offset + 0.5 * offset.grad
    torch.testing.assert_close(ours, (offset + mean).detach())


def test_adam_steps_as_torchs_adam_does() -> None:
    start, gradients = torch.randn(2, 3, 4, 4), torch.randn(6, 2, 3, 4, 4)
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.07, maximize=True)
    ours, memory = start, Adam.start(start)
    for gradient in gradients:
        theirs.grad = gradient.clone()
        optimizer.step()
        change, memory = memory.step(gradient, torch.full((2, 1, 1, 1), 0.07))
        ours = ours + change
    torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.parametrize("tail", [nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.Softmax(1)])
def test_the_score_climbs_whatever_the_network_does_to_it_afterwards(tail: nn.Module) -> None:
    with opened(seeded(Small, tail=tail)) as classifier:
        first, *_, final = ascend(classifier, plan([0, 3, 4]))
    assert (final.scores > first.scores).all()
    assert not final.dead.any()


def test_the_network_is_given_back_as_it_was() -> None:
    network = seeded(Small).train()
    network.classifier.eval()
    network.features[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with opened(network) as classifier:
        assert not network.training
        last(classifier, plan([1]))
    assert network.training
    assert not network.classifier.training
    assert [name for name, weight in network.named_parameters() if not weight.requires_grad] == ["features.0.weight"]
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_target_does_not_notice_its_company() -> None:
    with opened(seeded(Small)) as classifier:
        alone = last(classifier, plan([3]))
        crowded = last(classifier, plan([0, 1, 2, 3, 4] * 6))
    torch.testing.assert_close(crowded.parameters[3], alone.parameters[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(crowded.scores[3], alone.scores[0])


def test_the_same_ascent_twice_gives_the_same_bits() -> None:
    with opened(seeded(Functional)) as classifier:
        one, two = (last(classifier, plan([0, 4])).parameters for _ in range(2))
    assert torch.equal(one, two)


class DeadOnGrey(nn.Module):
    """Has no gradient near grey, for class 0; never has any, for class 1; always has one, for class 2."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x.mean((1, 2, 3))
        loud = torch.nn.functional.threshold(x.abs(), 0.3, 0.0).mean((1, 2, 3))
        return torch.stack([loud * 1.0, scores * 0.0, scores], 1) * torch.ones(3)


def test_a_dead_target_is_started_again_and_given_up_only_if_that_does_not_help() -> None:
    with open_classifier(DeadOnGrey(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        classifier = replace(classifier, tail=type(classifier.tail)())
        *_, final = ascend(classifier, replace(plan([0, 1, 2], steps=8), start=start_zero))
    assert final.dead.tolist() == [False, True, False]
    assert final.parameters[0].std() > 0.1


def test_a_score_that_is_not_a_number_kills_its_own_slot_alone() -> None:
    class Poisoned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            poison = torch.tensor([1.0, float("nan")])[: len(x), None]
            return x.mean((2, 3)) * poison

    with open_classifier(Poisoned(), mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=CPU) as classifier:
        final = last(classifier, plan([0, 1]))
    assert final.dead.tolist() == [False, True]
    assert final.parameters[0].isfinite().all()


def test_windows_and_spectra_climb_and_repeat_themselves() -> None:
    ascent = replace(
        plan([1, 2], steps=20), image=Fourier((24, 28)), size=(24, 28), transform=Window(SIZE, (0.7, 1.5), 20)
    )
    with opened(seeded(Small)) as classifier:
        one, two = (list(ascend(classifier, ascent)) for _ in range(2))
        alone = list(ascend(classifier, replace(ascent, targets=[2], seeds=[2], rates=[0.1], l2=[0.001])))
    assert (one[-1].scores > one[0].scores).all()
    assert torch.equal(one[-1].parameters, two[-1].parameters)
    pictures = ascent.image.picture(torch.cat([alone[-1].parameters, one[-1].parameters]))
    assert (pictures[0] - pictures[2]).abs().max() < 1e-3  # a quarter of what eight bits can tell
