"""Fourier parameterizations against lucid's and their definitions."""

import math

import pytest
import torch

from worker.engine.ascent.fourier import Fourier, Phases, default_magnitudes, measure_magnitudes


def test_the_fourier_parameterization_equals_lucids() -> None:
    """lucid's `fft_image` and `to_valid_rgb`, literally: scaled spectrum, inverse over 4, colors, sigmoid."""
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
    torch.testing.assert_close(Fourier((height, width)).image(parameters)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 7])
def test_channels_are_not_mixed_if_there_are_not_three(channels: int) -> None:
    parameterization = Fourier((10, 12))
    parameters = torch.zeros(1, *parameterization.shape(channels, 10, 12))
    parameters[0, 0] = 1
    images = parameterization.image(parameters)
    assert images[0, 0].std() > 0
    assert (images[0, 1:] == 0.5).all()


def test_phases_keep_the_given_magnitudes() -> None:
    """Up to a factor and the constant, before colors and sigmoid: the spectrum has the given magnitudes."""
    size = (16, 20)
    parameterization = Phases(size, default_magnitudes(1, size))
    phases = torch.randn(1, *parameterization.shape(1, *size), generator=torch.Generator().manual_seed(4))
    magnitudes = torch.fft.rfft2(torch.logit(parameterization.image(phases)))[0, 0].abs()
    ratio = (magnitudes / parameterization.magnitudes[0])[
        1:8, 1:9
    ]  # without the frequencies whose phase a real image fixes
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=1e-3)


def test_phases_refuse_regularizers() -> None:
    parameterization = Phases((8, 8), default_magnitudes(3, (8, 8)))
    with pytest.raises(ValueError, match="no regularizer"):
        parameterization.deviation(torch.zeros(1, 3, 8, 5), torch.zeros(1, 3, 8, 8))


def test_phases_of_an_image_keep_the_positions_of_objects() -> None:
    image = torch.full((1, 3, 32, 32), 0.3)
    image[:, :, 8:16, 20:28] = 0.8
    parameterization = Phases((32, 32), default_magnitudes(3, (32, 32)))
    again = parameterization.image(parameterization.parameters(image))
    inside, outside = again[..., 8:16, 20:28].mean(), again[..., 20:, :12].mean()
    assert inside > outside + 0.1


def test_measured_magnitudes_are_the_mean_of_the_images_spectra() -> None:
    images = [torch.rand(1, 12, 10), torch.rand(1, 12, 10)]
    measured = measure_magnitudes(iter(images), (12, 10))
    expected = sum(torch.fft.rfft2(image).abs() for image in images) / 2
    torch.testing.assert_close(measured, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="there are none"):
        measure_magnitudes(iter([]), (12, 10))
