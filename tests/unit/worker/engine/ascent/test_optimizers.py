"""Optimizers against torch's or their formulas."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from worker.engine.ascent.optimizers import SGD, Adam, NAdam, Optimizer, RMSProp

GRADIENTS = torch.randn(8, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
RATE = torch.full((2, 1, 1, 1), 0.07)


def ascend(start: Callable[[Tensor], Optimizer]) -> Tensor:
    parameters = torch.ones(2, 3, 4, 4)
    optimizer = start(parameters)
    for gradient in GRADIENTS:
        change, optimizer = optimizer.step(gradient, RATE)
        parameters = parameters + change
    return parameters


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD.start, partial(torch.optim.SGD, maximize=True)),
        (partial(SGD.start, momentum=0.9), partial(torch.optim.SGD, momentum=0.9, maximize=True)),
        (Adam.start, partial(torch.optim.Adam, maximize=True)),
        (NAdam.start, partial(torch.optim.NAdam, maximize=True)),
    ],
)
def test_optimizer_steps_equal_torchs(ours, theirs) -> None:
    parameters = torch.ones(2, 3, 4, 4, requires_grad=True)
    optimizer = theirs([parameters], lr=0.07)
    for gradient in GRADIENTS:
        parameters.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(ascend(ours), parameters.detach())


def test_rmsprop_normalizes_the_gradient_of_each_slot() -> None:
    parameters, cache = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    for gradient in GRADIENTS:
        unit = torch.stack([slot / slot.norm() for slot in gradient])
        cache = 0.95 * cache + 0.05 * unit**2
        parameters = parameters + 0.07 * unit / (cache + 1e-7).sqrt()
    torch.testing.assert_close(ascend(RMSProp.start), parameters)


@pytest.mark.parametrize("start", [partial(SGD.start, momentum=0.5), Adam.start, NAdam.start, RMSProp.start])
def test_a_slots_step_does_not_change_when_another_slot_leaves(start) -> None:
    optimizer = start(torch.ones(2, 3, 4, 4))
    _, optimizer = optimizer.step(GRADIENTS[0], RATE)
    together, _ = optimizer.step(GRADIENTS[1], RATE)
    alone, _ = optimizer.take(torch.tensor([1])).step(GRADIENTS[1][1:], RATE[1:])
    torch.testing.assert_close(alone[0], together[1])
