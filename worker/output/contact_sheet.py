"""The contact sheet of a job that works on images, with a row per image."""

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from worker.engine.render import RGBImage, decode_png, encode_png, render_contact_sheet
from worker.inputs.pairs import Pair
from worker.inputs.preprocess import shrink
from worker.job.context import JobContext, ShardPlace

SIDE = 200
"""Side of a cell in pixels."""

MAX_ROWS, MAX_COLUMNS = 50, 9
"""Maximum number of images, and number of cells at which a row takes no more."""

SPARE_ROWS = 150
"""Number of rows that the shards of a job keep together, for those that have no place on the sheet unless images fail.

Every row of a stored result takes some 200 kB."""

NO_EVIDENCE = "no evidence"
"""Label of a cell whose map is empty."""

Cell = tuple[RGBImage, str]
"""An image (H, W, 3) and its label."""

PackedCell = list[str]
"""A cell as JSON: its PNG in base64, and its label."""

PackedRows = dict[str, list[PackedCell]]
"""Rows as JSON, by image id."""

Rows = Mapping[str, Sequence[PackedCell | Cell]]
"""Rows by image id; those of a job of one shard are never stored, and their cells are not encoded."""


def pack_cell(cell: Cell) -> PackedCell:
    """Returns a cell as JSON."""
    pixels, label = cell
    return [b64encode(encode_png(pixels)).decode(), label]


def unpack_cell(packed: PackedCell | Cell) -> Cell:
    """Returns a cell from its JSON; a cell as it is."""
    pixels, label = packed
    return (decode_png(b64decode(pixels)) if isinstance(pixels, str) else pixels), label


def choose_rows(place: ShardPlace) -> int:
    """The number of rows that a shard keeps: those of the first images of the job, and a few if these fail."""
    if place.images is None:
        return MAX_ROWS
    return min(MAX_ROWS, max(MAX_ROWS - place.images.start, math.ceil(SPARE_ROWS / place.shards)))


@dataclass(frozen=True)
class Sheet:
    """The rows of a shard, which grow.

    Attributes:
        show: Sends the newest images (H, W, 3) to the job's preview.
        most: Maximum number of rows.
        rows: The cells of each image, by image id.
    """

    show: Callable[[Sequence[RGBImage]], None]
    most: int = MAX_ROWS
    rows: dict[str, list[Cell]] = field(default_factory=dict)
    _packed: PackedRows = field(default_factory=dict)

    @classmethod
    def of(cls, context: JobContext[Any]) -> Self:
        """Creates the empty sheet of a shard."""
        return cls(context.show, choose_rows(context.place))

    def add(self, pair: Pair, shown: RGBImage, cells: Sequence[Cell]) -> None:
        """Adds cells to the row of the pair's image, if there is room.

        Args:
            pair: The pair.
            shown: The image (H, W, 3), for the first cell of its row.
            cells: The results.
        """
        self.show([pixels for pixels, _ in cells])
        image = pair.image.id
        if image in self.rows or len(self.rows) < self.most:
            row = self.rows.setdefault(image, [(shrink(shown, SIDE), "picture")])
            row += [(shrink(pixels, SIDE), label) for pixels, label in cells] if len(row) < MAX_COLUMNS else []

    def pack(self) -> PackedRows:
        """Returns the rows as JSON, for a checkpoint or a shard result; every cell is encoded once."""
        for image, row in self.rows.items():
            packed = self._packed.setdefault(image, [])
            packed += [pack_cell(cell) for cell in row[len(packed) :]]
        return self._packed

    def restore(self, packed: PackedRows) -> None:
        """Adds the rows that `pack` returned."""
        self._packed.update(packed)
        self.rows.update({image: [unpack_cell(cell) for cell in row] for image, row in packed.items()})


@dataclass(frozen=True)
class JobSheet:
    """The contact sheet of a job, from the rows of its shards.

    Attributes:
        rows: The cells of each image, by image id.
    """

    rows: dict[str, list[PackedCell | Cell]] = field(default_factory=dict)

    def add(self, image: str, row: Sequence[PackedCell | Cell]) -> None:
        """Adds a row of a shard, if there is room; an earlier shard may have cells of the same image."""
        if image in self.rows:
            ours = self.rows[image]
            ours += row[1:] if len(ours) < MAX_COLUMNS else []
        elif len(self.rows) < MAX_ROWS:
            self.rows[image] = list(row)

    def save(self, context: JobContext[Any]) -> None:
        """Saves the sheet as an artifact."""
        rows = [[unpack_cell(cell) for cell in row] for row in self.rows.values()]
        context.save("contact-sheet.png", encode_png(render_contact_sheet(rows, side=SIDE)))
