"""What an ascent does to its slots outside the network gives each the same bits, whatever their number."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from worker.engine.image import BoundedPixels
from worker.engine.optimizer import SGD, Adam, NAdam, Normalized, Optimizer, RMSProp
from worker.engine.prior import Lp, PowerSum, Prior, TotalVariation, absolute_variation, l1, l2
from worker.engine.spectrum import Fourier, Phases, default_magnitudes
from worker.engine.transform import Box, Window

MANY = 33
SIZE = (31, 29)  # odd, so that no slot ends where a vector register does


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def slope(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Of something that weighs every output differently."""
    values = values.clone().requires_grad_()
    outputs = function(values)
    weights = drawn(MANY, *outputs.shape[1:])[: len(outputs)]
    (found,) = torch.autograd.grad((outputs * weights).sum(), values)
    return torch.cat([outputs.detach().flatten(1), found.flatten(1)], 1)


def check(function: Callable[[int], Tensor], counts: Sequence[int] = range(1, MANY)) -> None:
    everybody = function(MANY)
    assert [count for count in counts if not torch.equal(function(count), everybody[:count])] == []


IMAGES = {"pixels": BoundedPixels(), "fourier": Fourier(SIZE), "phases": Phases(SIZE, default_magnitudes(3, SIZE))}
PRIORS = [l1, l2, absolute_variation, PowerSum(6), PowerSum(2.5), Lp(6), TotalVariation(1.25)]
TRANSFORMS = {"window": Window((24, 20), (0.7, 1.5), 20), "box": Box((12, 12), (0.1, 0.5))}
OPTIMIZERS = [SGD, Adam, NAdam, RMSProp, Normalized]


@pytest.mark.parametrize("way", IMAGES)
def test_pictures(way: str) -> None:
    image = IMAGES[way]
    written, pictures = drawn(MANY, *image.shape(3, *SIZE)), drawn(MANY, 3, *SIZE).sigmoid()
    check(lambda count: slope(image.picture, written[:count]))
    check(lambda count: image.parameters(pictures[:count]))


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: getattr(prior, "__name__", str(prior)))
def test_priors(prior: Prior) -> None:
    pictures = drawn(MANY, 3, *SIZE)
    check(lambda count: slope(lambda shown: prior(shown)[:, None], pictures[:count]))


@pytest.mark.parametrize("way", TRANSFORMS)
def test_views(way: str) -> None:
    transform, pictures = TRANSFORMS[way], drawn(MANY, 3, *SIZE)
    random = torch.rand(MANY, transform.draws, generator=torch.Generator().manual_seed(1))
    check(lambda count: slope(partial(transform, random=random[:count]), pictures[:count]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_steps(optimizer: type[Optimizer]) -> None:
    gradient = drawn(MANY, 3, 5, 5)

    def climb(count: int) -> Tensor:
        far, rate = torch.zeros_like(gradient[:count]), torch.full((count, 1, 1, 1), 0.1)
        memory = optimizer.start(gradient[:count])
        for _ in range(300):
            change, memory = memory.step(gradient[:count] - far, rate)
            far = far + change
        return far

    check(climb, counts=[1, 3, 16, 20, 32])
