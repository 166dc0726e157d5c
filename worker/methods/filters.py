"""`filters`: the weights of a convolution as pictures."""

import io
import json
import math

import numpy as np
from torch import Tensor, nn

from shared.errors import InvalidRequest, nearest
from shared.jobs import Progress
from shared.methods import Filters
from worker.engine.filters import Tile, cut_tiles, list_convolutions, read_filters, to_pixels
from worker.engine.render import arrange, encode_png, render_contact_sheet
from worker.pool import Run
from worker.task import Task

WIDEST = 3000
"""Of the sheet in pixels."""


def run(task: Task[Filters]) -> Run:
    """Draws the filters of one convolution, as the release's file has them."""
    params = task.request.params
    yield Progress(done=0, total=1, unit="sheet")
    name, weights = find_filters(task.load_original(), params.layer)
    tiles = cut_tiles(weights, params.filters, inputs=params.inputs, count=params.count, seed=params.seed)
    cells = [(to_pixels(tile.weights, params.side), tile.name) for tile in tiles]
    columns = min(choose_columns(len(cells)), max(1, WIDEST // params.side))
    task.save("filters.png", encode_png(render_contact_sheet(arrange(cells, columns), side=params.side)))
    task.save("filters.npz", pack(tiles))
    metrics = {"layer": name, "shape": list(weights.shape), "tiles": [describe(tile) for tile in tiles]}
    task.save("metrics.json", json.dumps(metrics, indent=1).encode())
    yield Progress(done=1, total=1, unit="sheet")
    return metrics


def find_filters(network: nn.Module, layer: str | None) -> tuple[str, Tensor]:
    """A convolution's name and its filters (K, C, h, w); the first one's where none is named.

    Raises:
        InvalidRequest: The network has no such convolution, or none at all; the nearest names are given.
    """
    names = list_convolutions(network)
    if not names:
        raise InvalidRequest("the network has no convolution over pictures, and so no filters to draw")
    name = layer or names[0]
    if name not in names:
        close = nearest(name, names) or names[:5]
        raise InvalidRequest(f"{name!r} is no convolution of the network; did you mean {', '.join(close)}?")
    weights = read_filters(network.get_submodule(name))
    if weights is None:
        raise InvalidRequest(f"{name!r} has no filters of two dimensions")
    return name, weights


def choose_columns(count: int) -> int:
    """Eight side by side, and a square where there are more than sixty-four."""
    return max(8, round(math.sqrt(count)))


def describe(tile: Tile) -> dict[str, int | float | None]:
    """What is measured of a tile."""
    least, most = float(tile.weights.min()), float(tile.weights.max())
    norm = float(np.linalg.norm(tile.weights))
    return {"filter": tile.filter, "input": tile.input, "least": least, "most": most, "norm": norm}


def pack(tiles: list[Tile]) -> bytes:
    """The tiles' weights, each under its name, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{tile.name: tile.weights for tile in tiles})  # type: ignore[arg-type]
    return buffer.getvalue()
