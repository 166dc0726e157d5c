"""Steps, against torch's own optimisers and the literal formula."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from worker.engine.optimizer import SGD, Adam, NAdam, Optimizer, RMSProp
from worker.engine.schedule import Cosine, Staircase, constant

GRADIENTS = torch.randn(8, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
RATE = torch.full((2, 1, 1, 1), 0.07)


def walk(start: Callable[[Tensor], Optimizer]) -> Tensor:
    place = torch.ones(2, 3, 4, 4)
    memory = start(place)
    for gradient in GRADIENTS:
        change, memory = memory.step(gradient, RATE)
        place = place + change
    return place


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD.start, partial(torch.optim.SGD, maximize=True)),
        (partial(SGD.start, momentum=0.9), partial(torch.optim.SGD, momentum=0.9, maximize=True)),
        (Adam.start, partial(torch.optim.Adam, maximize=True)),
        (NAdam.start, partial(torch.optim.NAdam, maximize=True)),
    ],
)
def test_steps_are_torchs(ours, theirs) -> None:
    place = torch.ones(2, 3, 4, 4, requires_grad=True)
    optimizer = theirs([place], lr=0.07)
    for gradient in GRADIENTS:
        place.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(walk(ours), place.detach())


def test_rmsprop_takes_gradients_of_length_one_for_each_slot() -> None:
    place, cache = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    for gradient in GRADIENTS:
        unit = torch.stack([slot / slot.norm() for slot in gradient])
        cache = 0.95 * cache + 0.05 * unit**2
        place = place + 0.07 * unit / (cache + 1e-7).sqrt()
    torch.testing.assert_close(walk(RMSProp.start), place)


@pytest.mark.parametrize("start", [partial(SGD.start, momentum=0.5), Adam.start, NAdam.start, RMSProp.start])
def test_who_stays_does_not_notice_who_leaves(start) -> None:
    memory = start(torch.ones(2, 3, 4, 4))
    _, memory = memory.step(GRADIENTS[0], RATE)
    together, _ = memory.step(GRADIENTS[1], RATE)
    alone, _ = memory.take(torch.tensor([1])).step(GRADIENTS[1][1:], RATE[1:])
    torch.testing.assert_close(alone[0], together[1])


def test_schedules_are_what_they_are_called() -> None:
    assert [constant(step) for step in (1, 99)] == [1, 1]
    assert [Staircase(2, 0.5)(step) for step in (1, 2, 3, 4, 5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = Cosine(10, warm_up=2)
    assert cosine(1) == pytest.approx(1 / 3)
    assert cosine(3) == 1
    assert cosine(7) == pytest.approx(0.5)
    assert 0 < cosine(10) < 0.1
