"""Ways to write a picture down."""

import math

import pytest
import torch

from worker.engine.image import BoundedPixels, Fourier, Image, Pixels

WAYS = [BoundedPixels(), Pixels(torch.full((3, 1, 1), 0.4)), Fourier((12, 10)), Fourier((9, 11))]


@pytest.mark.parametrize("image", WAYS, ids=str)
def test_parameters_are_the_inverse_of_the_picture(image: Image) -> None:
    size = image.size if isinstance(image, Fourier) else (6, 5)
    pictures = torch.rand(2, 3, *size) * 0.9 + 0.05
    parameters = image.parameters(pictures)
    assert tuple(parameters.shape[1:]) == image.shape(3, *size)
    torch.testing.assert_close(image.picture(parameters), pictures, atol=1e-5, rtol=1e-4)


def test_a_spectrum_is_written_out_as_lucid_does() -> None:
    """lucid's `fft_image` and `to_valid_rgb`, literally: scaled spectrum, inverse over 4, colours, sigmoid."""
    height, width = 8, 6
    parameters = torch.randn(1, 3, height, width // 2 + 1, 2, generator=torch.Generator().manual_seed(1)) * 0.3
    pixels = torch.zeros(3, height, width)
    for channel in range(3):
        full = torch.zeros(height, width // 2 + 1, dtype=torch.complex64)
        for u in range(height):
            for v in range(width // 2 + 1):
                frequency = math.hypot(min(u, height - u) / height, v / width)
                scale = math.sqrt(height * width) / max(frequency, 1 / max(width, height))
                full[u, v] = scale * torch.complex(*parameters[0, channel, u, v])
        pixels[channel] = torch.fft.irfft2(full, s=(height, width)) / 4
    axes = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    axes = axes / max(axes[:, i].norm() for i in range(3))
    expected = torch.stack([sum(axes[c, k] * pixels[k] for k in range(3)) for c in range(3)]).sigmoid()
    torch.testing.assert_close(Fourier((height, width)).picture(parameters)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 7])
def test_other_numbers_of_channels_keep_theirs_apart(channels: int) -> None:
    image = Fourier((10, 12))
    parameters = torch.zeros(1, *image.shape(channels, 10, 12))
    parameters[0, 0] = 1
    pictures = image.picture(parameters)
    assert pictures[0, 0].std() > 0
    assert (pictures[0, 1:] == 0.5).all()
