"""The contact sheet of a job that works on images, with a row per image, and the end of such a job."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archetype.contract.strict_json import dump_json, replace_non_finite
from shared.errors import DeadTarget, InvalidRequest, NotFinite, Problem
from worker.engine.render import RGBImage, decode_png, encode_png, render_contact_sheet
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.preprocess import shrink
from worker.job.context import JobContext
from worker.optimization.optimize import NOT_FINITE

SIDE = 200
"""Side of a cell in pixels."""

MAX_ROWS, MAX_COLUMNS = 50, 9
"""Maximum number of images, and number of cells at which a row takes no more."""

NO_EVIDENCE = "no evidence"
"""Label of a cell whose map is empty."""

Cell = tuple[RGBImage, str]
"""An image (H, W, 3) and its label."""

PackedCell = list[str]
"""A cell as JSON: its PNG in base64, and its label."""


def pack_cell(cell: Cell) -> PackedCell:
    """Returns a cell as JSON."""
    pixels, label = cell
    return [b64encode(encode_png(pixels)).decode(), label]


def unpack_cell(packed: Sequence[str]) -> Cell:
    """Returns a cell from its JSON."""
    data, label = packed
    return decode_png(b64decode(data)), label


@dataclass(frozen=True)
class Sheet:
    """A contact sheet that grows.

    Attributes:
        show: Sends the newest images (H, W, 3) to the job's preview.
        rows: The cells of each image, by image id.
    """

    show: Callable[[Sequence[RGBImage]], None]
    rows: dict[str, list[Cell]] = field(default_factory=dict)
    _packed: dict[str, list[PackedCell]] = field(default_factory=dict)

    def add(self, pair: Pair, shown: RGBImage, cells: Sequence[Cell]) -> None:
        """Adds cells to the row of the pair's image, if there is room.

        Args:
            pair: The pair.
            shown: The image (H, W, 3), for the first cell of its row.
            cells: The results.
        """
        self.show([pixels for pixels, _ in cells])
        image = pair.image.id
        if image in self.rows or len(self.rows) < MAX_ROWS:
            row = self.rows.setdefault(image, [(shrink(shown, SIDE), "picture")])
            row += [(shrink(pixels, SIDE), label) for pixels, label in cells] if len(row) < MAX_COLUMNS else []

    def save(self, context: JobContext[Any]) -> None:
        """Saves the sheet as an artifact."""
        context.save("contact-sheet.png", encode_png(render_contact_sheet(list(self.rows.values()), side=SIDE)))

    def pack(self) -> dict[str, list[PackedCell]]:
        """Returns the rows as JSON, for a checkpoint; every cell is encoded once."""
        for image, row in self.rows.items():
            packed = self._packed.setdefault(image, [])
            packed += [pack_cell(cell) for cell in row[len(packed) :]]
        return self._packed

    def restore(self, packed: Mapping[str, list[PackedCell]]) -> None:
        """Adds the rows that `pack` returned."""
        self._packed.update(packed)
        self.rows.update({image: [unpack_cell(cell) for cell in row] for image, row in packed.items()})


def explain_empty_result(context: JobContext[Any], pairs: Pairs, metrics: Mapping[str, Any]) -> Problem:
    """The reason why a job has no result."""
    if pairs.failed:
        return pairs.failed[0].problem
    if not context.images.entries:
        return InvalidRequest("there are no images in that place; name one that has some")
    if ended_not_finite(metrics):
        return NotFinite(f"no image has a result: {NOT_FINITE}")
    return DeadTarget("nothing has a gradient at these images; try another layer, target, noise or learning_rate")


def ended_not_finite(metrics: Any) -> bool:
    """Whether an ascent of these metrics ended because its values were not finite."""
    if isinstance(metrics, Mapping):
        return metrics.get("stopped") == "not_finite" or any(map(ended_not_finite, metrics.values()))
    return isinstance(metrics, list) and any(map(ended_not_finite, metrics))


def finish(context: JobContext[Any], pairs: Pairs, sheet: Sheet, metrics: dict[str, Any]) -> dict[str, Any]:
    """Saves the files of the whole job, and adds the images and pairs that failed to its metrics.

    Raises:
        Problem: There is no result: no image could be read, there are no images, or none gave anything.
    """
    if not sheet.rows:
        raise explain_empty_result(context, pairs, metrics)
    if pairs.failed:
        metrics["failed"] = [failure.describe() for failure in pairs.failed]
    if pairs.repeated:
        metrics["repeated"] = pairs.repeated
    sheet.save(context)
    metrics = replace_non_finite(metrics)
    context.save("metrics.json", dump_json(metrics, indent=1).encode())
    return metrics
