"""Color triggers: an affine map of the channels and a tone curve, the same for every pixel.

A(x) = clip(x + (M · x + b) + t(x)),    size = root mean square of the change over a fixed set of colors
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.triggers.families.family import column, draw_normal, root_mean_square

KNOTS = 5
"""Points of the tone curve, from black to white."""

SAMPLES = 64
"""Colors over which the size is measured."""


@dataclass(frozen=True)
class Color:
    """An affine map of the channels with a tone curve.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "color"
    unit: str = "gray levels of 255 (root mean square over all colors)"
    rate: float = 0.02
    typical: float = 30.0

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, P): nearly no change."""
        channels = self.shape[0]
        return 0.01 * draw_normal(seeds, channels * channels + channels + KNOTS)

    def candidates(self) -> Tensor:
        """Returns shifts of the channels, and changes of the tone curve (M, P); see `without_gradients`."""
        channels = self.shape[0]
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * min(channels, 3)).reshape(-1, min(channels, 3))
        shifts = signs[signs.abs().sum(1) > 0]
        found = torch.zeros(len(shifts) + 2 * KNOTS, channels * channels + channels + KNOTS)
        found[: len(shifts), channels * channels : channels * channels + shifts.shape[1]] = shifts
        for knot in range(KNOTS):
            found[len(shifts) + 2 * knot, channels * channels + channels + knot] = 1
            found[len(shifts) + 2 * knot + 1, channels * channels + channels + knot] = -1
        return found

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Maps the colors of images (N, K, C, H, W); see `Family.apply`."""
        return (images + self._change(parameters, images)).clamp(0, 1)

    def _change(self, parameters: Tensor, images: Tensor) -> Tensor:
        """The change (N, K, C, H, W) of images, or (N, K, C, 1, 1) of colors."""
        channels = self.shape[0]
        square = channels * channels
        matrix = parameters[:, :square].view(-1, 1, channels, channels, 1, 1)
        bias = parameters[:, square : square + channels].view(-1, 1, channels, 1, 1)
        mixed = (matrix * images[:, :, None]).sum(3)  # (N, K, C, H, W)
        return mixed + bias + self._tone(parameters[:, square + channels :], images)

    def _tone(self, curve: Tensor, images: Tensor) -> Tensor:
        """The tone curve (N, KNOTS), interpolated at every value: a sum of hat functions."""
        knots = torch.linspace(0, 1, KNOTS).tolist()
        hats = [(1 - (images - knot).abs() * (KNOTS - 1)).clamp_min(0) for knot in knots]
        return sum((column(curve[:, row], images) * hat for row, hat in enumerate(hats)), torch.zeros_like(images))

    def size(self, parameters: Tensor) -> Tensor:
        """Root mean square of the change of a color in levels (N,)."""
        generator = torch.Generator().manual_seed(0)
        colors = torch.rand(1, SAMPLES, self.shape[0], 1, 1, generator=generator).to(parameters)
        return 255 * root_mean_square(self._change(parameters, colors.expand(len(parameters), -1, -1, -1, -1)))

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the change by factors (N,)."""
        return parameters * column(factors, parameters)
