"""Feature grids: where the channels and the positions of a layer's output are.

The output of a convolution is a grid already. Some transformers have their features on the last axis. The tokens of
others are laid out as a grid without class token, distillation token and registers. Which of these an output is, is
known from the layers: how many channels a convolution, a norm or a linear layer gives, and on which axis they lie.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules import pooling

Axis = Literal["first", "last"]

MAX_EXTRA_TOKENS = 9
"""Largest number of tokens without a position: class, distillation and registers."""

POOLS = (
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
    pooling._AdaptiveAvgPoolNd,
    pooling._LPPoolNd,
)


@dataclass(frozen=True)
class Layout:
    """Where the channels and the positions of a layer's output are.

    Attributes:
        shape: Shape of the output for one image.
        channels: Whether the channels are on the `first` or on the `last` axis of an image.
        grid: Rows and columns of the positions; None if the output has no positions.
        extra: Number of tokens before the first position.
    """

    shape: tuple[int, ...]
    channels: Axis = "first"
    grid: tuple[int, int] | None = None
    extra: int = 0

    def to_grid(self, values: Tensor) -> Tensor | None:
        """Arranges outputs of the layer, also for images of another size, as a grid of features.

        Args:
            values: Outputs of the layer: (N, K, h, w), (N, h, w, K), or tokens (N, T, K).

        Returns:
            Features (N, K, h, w); None if the output has no positions.
        """
        if self.grid is None:
            return None
        if values.ndim == 4:
            return values if self.channels == "first" else values.permute(0, 3, 1, 2)
        rows, columns = self.grid
        if self.channels == "first":
            places = values.shape[2]
            columns = columns if places == rows * columns else max(1, round((places * columns / rows) ** 0.5))
            return values.unflatten(2, (-1, columns)) if places % columns == 0 else None
        if values.shape[1] != self.extra + rows * columns:  # another size: the same aspect ratio
            places = values.shape[1] - self.extra
            columns = max(1, round((places * columns / rows) ** 0.5))
            if places % columns:
                return None
        tokens: Tensor = values[:, self.extra :].unflatten(1, (-1, columns))  # (N, h, w, K)
        return tokens.permute(0, 3, 1, 2)

    def to_channels(self, values: Tensor) -> Tensor:
        """Moves the channels of outputs of the layer to the second axis.

        Args:
            values: Outputs of the layer (N, …).

        Returns:
            (N, K, h, w) for a grid, (N, K, T) for a sequence of tokens, (N, K, …) for windows, (N, K) for a vector.
        """
        grid = self.to_grid(values)
        if grid is not None:
            return grid
        return values.movedim(-1, 1) if values.ndim > 2 and self.channels == "last" else values


def guess_layout(values: Tensor, ratio: float) -> Layout:
    """Guesses the layout of an output (N, …) of which nothing else is known, from the aspect ratio of the images.

    Args:
        values: Outputs of a layer: (N, K, h, w), (N, h, w, K), tokens (N, T, K), or others.
        ratio: Height divided by width of the images.
    """
    shape = tuple(values.shape[1:])
    if values.ndim == 4:
        first, second, third = shape
        if _has_ratio(second, third, ratio):
            return Layout(shape, "first", (second, third))
        if _has_ratio(first, second, ratio):
            return Layout(shape, "last", (first, second))
        return Layout(shape)
    if values.ndim != 3:
        return Layout(shape)
    tokens = shape[0]
    # First an exact fit, then one that allows for padding.
    candidates = [(extra, 0.01) for extra in range(MAX_EXTRA_TOKENS + 1)] + [(extra, 1) for extra in (0, 1, 2, 5)]
    for extra, slack in candidates:
        width = round(((tokens - extra) / ratio) ** 0.5) if tokens > extra else 0
        if width > 1 and (tokens - extra) % width == 0:
            height = (tokens - extra) // width
            if _has_ratio(height, width, ratio, slack):
                return Layout(shape, "last", (height, width), extra)
    return Layout(shape, "last")


def _has_ratio(height: int, width: int, ratio: float, slack: float = 1) -> bool:
    """Tells whether a grid has the image's ratio, up to `slack` cells: 1 is what padding adds."""
    return abs(height - width * ratio) <= slack


def find_layouts(network: nn.Module, run: Callable[[], Any], rows: int, ratio: float) -> dict[str, Layout]:
    """Finds the layouts of all layers in one forward pass.

    Args:
        network: The network.
        run: Runs the network on images.
        rows: Number of the images.
        ratio: Height divided by width of the images.

    Returns:
        The layout of each layer that gives one row per image, by name, in the order of the calls.
    """
    survey = _Survey(rows, ratio)
    hooks = [
        module.register_forward_hook(partial(survey.see, name))
        for name, module in network.named_modules(remove_duplicate=False)
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return survey.layouts


class _Survey:
    """What is known about the outputs of the layers that have run."""

    def __init__(self, rows: int, ratio: float) -> None:
        self.layouts: dict[str, Layout] = {}
        self._rows = rows
        self._ratio = ratio
        self._known: list[Layout] = []  # grids of which a layer has told where the channels are, oldest first
        self._windows: list[Layout] = []  # the same for outputs with more axes
        self._lengths: set[int] = set()  # numbers of tokens

    def see(self, name: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        if output.ndim < 2 or len(output) != self._rows:
            return
        self.layouts.pop(name, None)
        self.layouts[name] = self._find(module, output)

    def _find(self, module: nn.Module, output: Tensor) -> Layout:
        shape = tuple(output.shape[1:])
        if output.ndim == 3:
            if tell_axis(module, shape) == "first":
                return Layout(shape, "first")
            self._lengths.add(shape[0])
            return self._find_tokens(output)
        if output.ndim == 2:
            return Layout(shape)
        if output.ndim > 4:  # windows of a grid
            return self._find_windows(module, shape)
        axis = tell_axis(module, shape) or self._inherit(shape)
        if axis is None:
            # Attention weights (heads, T, T) are not positions of an image.
            return Layout(shape) if shape[1] in self._lengths else guess_layout(output, self._ratio)
        layout = Layout(shape, axis, shape[1:] if axis == "first" else shape[:2])  # type: ignore[arg-type]
        self._known.append(layout)
        return layout

    def _inherit(self, shape: tuple[int, ...]) -> Axis | None:
        """The axis of the channels as in the newest output that is like this one."""
        tests: tuple[Callable[[Layout, Axis], bool], ...] = (
            lambda known, axis: known.shape == shape and known.channels == axis,
            lambda known, axis: known.grid == (shape[1:] if axis == "first" else shape[:2]),
            lambda known, axis: _count_channels(known) == (shape[0] if axis == "first" else shape[2]),
        )
        for test in tests:
            for known in reversed(self._known):
                axes: list[Axis] = [axis for axis in ("first", "last") if test(known, axis)]
                if len(axes) == 1:
                    return axes[0]
        return None

    def _find_windows(self, module: nn.Module, shape: tuple[int, ...]) -> Layout:
        axis = tell_axis(module, shape)
        equal = [known.channels for known in reversed(self._windows) if known.shape == shape]
        layout = Layout(shape, axis or (equal[0] if equal else "first"))
        if axis is not None:
            self._windows.append(layout)
        return layout

    def _find_tokens(self, output: Tensor) -> Layout:
        shape = tuple(output.shape[1:])
        for known in reversed(self._known):
            if known.grid is not None:
                places = known.grid[0] * known.grid[1]
                if shape == (_count_channels(known), places) and shape[0] != places:  # a grid that was flattened
                    return Layout(shape, "first", known.grid)
                extra = shape[0] - known.grid[0] * known.grid[1]
                if 0 <= extra <= MAX_EXTRA_TOKENS and known.grid != (1, 1):
                    return Layout(shape, "last", known.grid, extra)
        return guess_layout(output, self._ratio)


def _count_channels(layout: Layout) -> int:
    return layout.shape[0] if layout.channels == "first" else layout.shape[-1]


def tell_axis(module: nn.Module, shape: tuple[int, ...]) -> Axis | None:
    """Tells the axis of the channels in a layer's output from the layer itself.

    Args:
        module: The layer.
        shape: Shape of its output for one image, two or more axes.

    Returns:
        The axis; None if the layer does not tell.
    """
    if isinstance(module, POOLS):
        return "first"
    if isinstance(module, nn.Linear):
        return "last"
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1:
        return None
    if isinstance(module, nn.LayerNorm):
        is_2d = type(module) is not nn.LayerNorm and "2d" in type(module).__name__  # normalizes the channels of a grid
        count = module.normalized_shape[-1]
        return "first" if shape[0] == count and (is_2d or shape[-1] != count) else "last"
    weight = getattr(module, "weight", None)
    counts = [getattr(module, name, None) for name in ("out_channels", "num_features", "num_channels")]
    if isinstance(weight, Tensor) and weight.ndim == len(shape) + 1:
        counts.append(len(weight))
    return "first" if shape[0] in counts else None
