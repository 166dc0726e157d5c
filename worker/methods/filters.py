"""`filters`: renders the weights of a convolution as images.

A filter with three inputs is an RGB image of its weights W_k, scaled to the range of the tile; other filters are gray,
one tile per input:

    T_k = (W_k − min W_k) / (max W_k − min W_k),    W: (K, C, h, w)

Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks", figure 3.
"""

import io
import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from archetype.contract.job import Progress
from archetype.contract.problem import nearest
from archetype.contract.request import Filters
from archetype.contract.strict_json import dump_json
from shared.errors import InvalidRequest, NotFinite
from worker.engine.filters import Tile, cut_tiles, list_convolutions, read_filters, to_pixels
from worker.engine.render import arrange, encode_png, render_contact_sheet
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext

MAX_WIDTH = 3000
"""Maximum width of the sheet in pixels."""


def run(context: JobContext[Filters]) -> MethodRun:
    """Renders the filters of one convolution with the weights of the release's file, before any folding."""
    params = context.request.params
    yield Progress(done=0, total=1, unit="sheet")
    name, weights = find_filters(context.load_original(), params.layer)
    tiles = cut_tiles(weights, params.filters, inputs=params.inputs, count=params.count, seed=params.seed)
    faulty = [tile.name for tile in tiles if not np.isfinite(tile.weights).all()]
    if faulty:
        raise NotFinite(f"{len(faulty)} of {len(tiles)} filters of {name} have weights that are NaN, first {faulty[0]}")
    is_bgr = context.release.preprocessing.channel_order == "BGR"
    cells = [(to_pixels(order_colors(tile.weights, is_bgr=is_bgr), params.side), tile.name) for tile in tiles]
    columns = min(choose_columns(len(cells)), max(1, MAX_WIDTH // params.side))
    context.save("filters.png", encode_png(render_contact_sheet(arrange(cells, columns), side=params.side)))
    context.save("filters.npz", pack(tiles))
    metrics = {"layer": name, "shape": list(weights.shape), "tiles": [describe(tile) for tile in tiles]}
    context.save("metrics.json", dump_json(metrics, indent=1).encode())
    yield Progress(done=1, total=1, unit="sheet")
    return metrics


def find_filters(network: nn.Module, layer: str | None) -> tuple[str, Tensor]:
    """Finds the name and the filters (K, C, h, w) of a convolution; of the first one if `layer` is None.

    Raises:
        InvalidRequest: The network has no such convolution; the message gives the nearest names.
    """
    names = list_convolutions(network)
    if not names:
        raise InvalidRequest("the network has no convolution over images, and so no filters to render")
    name = layer or names[0]
    if name not in names:
        close = nearest(name, names) or names[:5]
        raise InvalidRequest(f"{name!r} is not a convolution of the network; did you mean {', '.join(close)}?")
    weights = read_filters(network.get_submodule(name))
    if weights is None:
        raise InvalidRequest(f"{name!r} has no two-dimensional filters")
    return name, weights


def order_colors(weights: NDArray[np.float32], *, is_bgr: bool) -> NDArray[np.float32]:
    """The weights of a filter (h, w) or (h, w, 3) with its three input channels in the order RGB."""
    return weights[..., ::-1] if is_bgr and weights.ndim == 3 else weights


def choose_columns(count: int) -> int:
    """The number of columns: eight, or those of a square for more than 64 tiles."""
    return max(8, round(math.sqrt(count)))


def describe(tile: Tile) -> dict[str, int | float | None]:
    """The metrics of a tile."""
    least, most = float(tile.weights.min()), float(tile.weights.max())
    norm = float(np.linalg.norm(tile.weights.astype(np.float64)))
    return {"filter": tile.filter, "input": tile.input, "least": least, "most": most, "norm": norm}


def pack(tiles: list[Tile]) -> bytes:
    """The `.npz` of the tiles: the weights of each under its name."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{tile.name: tile.weights for tile in tiles})  # type: ignore[arg-type]
    return buffer.getvalue()
