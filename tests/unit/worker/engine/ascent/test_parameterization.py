"""Parameterizations and their inverses."""

import pytest
import torch

from worker.engine.ascent.fourier import Fourier
from worker.engine.ascent.parameterization import BoundedPixels, Parameterization, Pixels

THIRD = torch.full((3, 1, 1), 0.3)
PARAMETERIZATIONS = [
    BoundedPixels(),
    Pixels(THIRD, torch.ones(3, 1, 1)),
    Pixels(THIRD, THIRD / 4),
    Fourier((12, 10)),
    Fourier((9, 11)),
]


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=str)
def test_parameters_are_the_inverse_of_the_image(parameterization: Parameterization) -> None:
    size = parameterization.size if isinstance(parameterization, Fourier) else (6, 5)
    images = torch.rand(2, 3, *size) * 0.9 + 0.05
    parameters = parameterization.parameters(images)
    assert tuple(parameters.shape[1:]) == parameterization.shape(3, *size)
    torch.testing.assert_close(parameterization.image(parameters), images, atol=1e-5, rtol=1e-4)


def test_a_pixel_parameter_of_one_adds_one_unit() -> None:
    parameterization = Pixels(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 1 / 255))
    assert parameterization.image(torch.full((1, 3, 2, 2), 51.0)).unique().tolist() == pytest.approx([0.7])
