"""Pictures written as frequencies."""

import math

import pytest
import torch

from worker.engine.spectrum import Fourier, Phases, default_magnitudes, measure_magnitudes


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


def test_phases_keep_the_magnitudes_they_were_given() -> None:
    """Up to a factor and the constant, before colours and sigmoid: the spectrum has the given magnitudes."""
    size = (16, 20)
    image = Phases(size, default_magnitudes(1, size))
    phases = torch.randn(1, *image.shape(1, *size), generator=torch.Generator().manual_seed(4))
    found = torch.fft.rfft2(torch.logit(image.picture(phases)))[0, 0].abs()
    ratio = (found / image.magnitudes[0])[1:8, 1:9]  # inside, where the spectrum of a real picture is free
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=1e-3)


def test_phases_take_no_prior() -> None:
    image = Phases((8, 8), default_magnitudes(3, (8, 8)))
    with pytest.raises(ValueError, match="no prior"):
        image.deviation(torch.zeros(1, 3, 8, 5), torch.zeros(1, 3, 8, 8))


def test_phases_of_a_picture_give_back_where_things_are() -> None:
    picture = torch.full((1, 3, 32, 32), 0.3)
    picture[:, :, 8:16, 20:28] = 0.8
    image = Phases((32, 32), default_magnitudes(3, (32, 32)))
    again = image.picture(image.parameters(picture))
    inside, outside = again[..., 8:16, 20:28].mean(), again[..., 20:, :12].mean()
    assert inside > outside + 0.1


def test_magnitudes_are_the_mean_of_the_pictures_spectra() -> None:
    pictures = [torch.rand(1, 12, 10), torch.rand(1, 12, 10)]
    measured = measure_magnitudes(iter(pictures), (12, 10))
    expected = sum(torch.fft.rfft2(picture).abs() for picture in pictures) / 2
    torch.testing.assert_close(measured, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="there are none"):
        measure_magnitudes(iter([]), (12, 10))
