"""Ways to write a picture down."""

import pytest
import torch

from worker.engine.image import BoundedPixels, Image, Pixels
from worker.engine.spectrum import Fourier

THIRD = torch.full((3, 1, 1), 0.3)
WAYS = [
    BoundedPixels(),
    Pixels(THIRD, torch.ones(3, 1, 1)),
    Pixels(THIRD, THIRD / 4),
    Fourier((12, 10)),
    Fourier((9, 11)),
]


@pytest.mark.parametrize("image", WAYS, ids=str)
def test_parameters_are_the_inverse_of_the_picture(image: Image) -> None:
    size = image.size if isinstance(image, Fourier) else (6, 5)
    pictures = torch.rand(2, 3, *size) * 0.9 + 0.05
    parameters = image.parameters(pictures)
    assert tuple(parameters.shape[1:]) == image.shape(3, *size)
    torch.testing.assert_close(image.picture(parameters), pictures, atol=1e-5, rtol=1e-4)


def test_a_parameter_of_one_adds_one_unit() -> None:
    image = Pixels(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 1 / 255))
    assert image.picture(torch.full((1, 3, 2, 2), 51.0)).unique().tolist() == pytest.approx([0.7])
