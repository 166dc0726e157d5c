"""Channels and positions of outputs are known from the layers, not from the aspect ratio of the images."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.attributions import opened
from tests.support.networks import seeded
from worker.engine.model.feature_grid import Layout, guess_layout, tell_axis


class Strip(nn.Module):
    """Gives 16 channels of 64 x 64 positions for images of 64 x 256, so that every axis could be the channels'."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 64, 3, padding=1), nn.MaxPool2d((1, 4))
        self.second, self.relu = nn.Conv2d(64, 64, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.pool(self.first(x)))).mean((2, 3))


class Tokens(nn.Module):
    """Patches of an image in rows of its own, a class token first, then features on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, (4, 8), (4, 8))
        self.block = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.GELU())
        self.late = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        grid = self.patches(x)
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
        last = self.late(tokens[:, 1:].unflatten(1, grid.shape[2:]))
        return last.mean((1, 2))


class Windows(nn.Module):
    """Windows of a grid of features, as in attention within windows: (N, rows, columns, positions, channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 2, 2)
        self.block = nn.Sequential(nn.Linear(12, 36), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        grid = self.patches(x).permute(0, 2, 3, 1).unflatten(1, (2, -1)).unflatten(3, (2, -1))
        return self.block(grid.transpose(2, 3).flatten(3, 4)).mean((1, 2, 3))


def test_windows_have_their_channels_where_the_layer_says() -> None:
    with opened(seeded(Windows), (16, 16)) as classifier:
        layouts = classifier.layouts()
        for name in ("block.0", "block.1"):
            assert layouts[name] == Layout((2, 2, 16, 36), "last")
        outputs = classifier.forward(torch.rand(3, 3, 16, 16), ["block.1"])
        assert outputs.channels("block.1").shape == (3, 36, 2, 2, 16)


def test_layers_with_equal_axes_have_their_channels_first() -> None:
    with opened(seeded(Strip), (64, 256)) as classifier:
        layouts = classifier.layouts()
        assert {name: (layout.channels, layout.grid) for name, layout in layouts.items()} == {
            "first": ("first", (64, 256)),
            "pool": ("first", (64, 64)),
            "second": ("first", (64, 64)),
            "relu": ("first", (64, 64)),
        }


def test_tokens_have_the_grid_of_the_convolution_that_cut_the_patches() -> None:
    with opened(seeded(Tokens), (16, 16)) as classifier:
        layouts = classifier.layouts()
        assert layouts["block"] == Layout((9, 12), "last", (4, 2), 1)  # not 3 x 3
        assert layouts["late.2"] == Layout((4, 2, 12), "last", (4, 2))
        outputs = classifier.forward(torch.rand(2, 3, 16, 16), ["block", "late", "patches"])
        assert [tuple(outputs.grid(layer).shape) for layer in ("patches", "block", "late")] == [(2, 12, 4, 2)] * 3
        assert torch.equal(outputs.grid("block")[0, :, 1, 0], outputs.activations["block"][0, 1 + 2])


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Conv2d(3, 8, 1), (8, 8, 8), "first"),
        (nn.ConvTranspose2d(3, 8, 1), (8, 4, 4), "first"),
        (nn.BatchNorm2d(7), (7, 5, 7), "first"),
        (nn.GroupNorm(2, 8), (8, 5, 5), "first"),
        (nn.LayerNorm(7), (5, 5, 7), "last"),
        (nn.LayerNorm(7), (7, 7, 7), "last"),
        (nn.Linear(3, 5), (5, 5, 5), "last"),
        (nn.AvgPool2d(2), (9, 3, 3), "first"),
        (nn.ReLU(), (9, 3, 3), None),
        (nn.Conv1d(3, 8, 1), (8, 196), "first"),
        (nn.BatchNorm1d(8), (8, 196), "first"),
        (nn.LayerNorm(12), (9, 12), "last"),
    ],
)
def test_layers_tell_the_axis_of_their_channels(module: nn.Module, shape: tuple[int, ...], axis: str | None) -> None:
    assert tell_axis(module, shape) == axis


def test_a_guess_knows_tokens_without_the_class_token() -> None:
    tokens = torch.arange(2 * 13 * 5).view(2, 13, 5).float()
    grid = guess_layout(tokens, ratio=3 / 4).to_grid(tokens)
    assert grid.shape == (2, 5, 3, 4)
    assert torch.equal(grid[0, :, 1, 2], tokens[0, 1 + 4 + 2])


@pytest.mark.parametrize(
    ("tokens", "extra", "side"), [(260, 4, 16), (21, 5, 4), (17, 1, 4), (201, 5, 14), (198, 2, 14), (49, 0, 7)]
)
def test_a_guess_leaves_registers_and_class_tokens_out_of_the_grid(tokens: int, extra: int, side: int) -> None:
    values = torch.arange(tokens).view(1, tokens, 1).float()
    grid = guess_layout(values, ratio=1.0).to_grid(values)
    assert grid.shape == (1, 1, side, side)
    assert grid.flatten()[0] == extra


def test_a_guess_knows_features_on_the_last_axis_and_outputs_without_positions() -> None:
    last = torch.rand(2, 5, 5, 9)
    assert torch.equal(guess_layout(last, ratio=1.0).to_grid(last), last.permute(0, 3, 1, 2))
    assert guess_layout(torch.rand(2, 9), ratio=1.0).to_grid(torch.rand(2, 9)) is None


def test_tokens_of_a_larger_image_have_a_grid_of_the_same_aspect_ratio() -> None:
    layout = Layout((9, 12), "last", (4, 2), 1)
    assert layout.to_grid(torch.rand(2, 1 + 8 * 4, 12)).shape == (2, 12, 8, 4)
