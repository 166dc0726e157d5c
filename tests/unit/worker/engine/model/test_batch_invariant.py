"""The operations of an ascent outside the network give each slot the same bits for every batch size."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from worker.engine.ascent.fourier import Fourier, Phases, default_magnitudes
from worker.engine.ascent.optimizers import SGD, Adam, NAdam, Normalized, Optimizer, RMSProp
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.regularizers.image import (
    Lp,
    PowerSum,
    Regularizer,
    TotalVariation,
    absolute_variation,
    l1,
    l2,
)
from worker.engine.ascent.transforms import BoxCrop, Window

MANY = 33
SIZE = (31, 29)  # odd, so that no slot ends where a vector register does


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def with_gradient(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """The outputs, and the gradient of a weighted sum with another weight for each output."""
    values = values.clone().requires_grad_()
    outputs = function(values)
    weights = draw(MANY, *outputs.shape[1:])[: len(outputs)]
    (gradient,) = torch.autograd.grad((outputs * weights).sum(), values)
    return torch.cat([outputs.detach().flatten(1), gradient.flatten(1)], 1)


def check(function: Callable[[int], Tensor], counts: Sequence[int] = range(1, MANY)) -> None:
    whole = function(MANY)
    assert [count for count in counts if not torch.equal(function(count), whole[:count])] == []


PARAMETERIZATIONS = {
    "pixels": BoundedPixels(),
    "fourier": Fourier(SIZE),
    "phases": Phases(SIZE, default_magnitudes(3, SIZE)),
}
REGULARIZERS = [l1, l2, absolute_variation, PowerSum(6), PowerSum(2.5), Lp(6), TotalVariation(1.25)]
TRANSFORMS = {"window": Window((24, 20), (0.7, 1.5), 20), "box": BoxCrop((12, 12), (0.1, 0.5))}
OPTIMIZERS = [SGD, Adam, NAdam, RMSProp, Normalized]


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_parameterizations_are_batch_invariant(name: str) -> None:
    parameterization = PARAMETERIZATIONS[name]
    parameters, images = draw(MANY, *parameterization.shape(3, *SIZE)), draw(MANY, 3, *SIZE).sigmoid()
    check(lambda count: with_gradient(parameterization.image, parameters[:count]))
    check(lambda count: parameterization.parameters(images[:count]))


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda kind: getattr(kind, "__name__", str(kind)))
def test_regularizers_are_batch_invariant(regularizer: Regularizer) -> None:
    images = draw(MANY, 3, *SIZE)
    check(lambda count: with_gradient(lambda batch: regularizer(batch)[:, None], images[:count]))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_are_batch_invariant(name: str) -> None:
    transform, images = TRANSFORMS[name], draw(MANY, 3, *SIZE)
    random = torch.rand(MANY, transform.draws, generator=torch.Generator().manual_seed(1))
    check(lambda count: with_gradient(partial(transform, random=random[:count]), images[:count]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_optimizers_are_batch_invariant(optimizer: type[Optimizer]) -> None:
    gradient = draw(MANY, 3, 5, 5)

    def ascend(count: int) -> Tensor:
        parameters, rate = torch.zeros_like(gradient[:count]), torch.full((count, 1, 1, 1), 0.1)
        state = optimizer.start(gradient[:count])
        for _ in range(300):
            change, state = state.step(gradient[:count] - parameters, rate)
            parameters = parameters + change
        return parameters

    check(ascend, counts=[1, 3, 16, 20, 32])
