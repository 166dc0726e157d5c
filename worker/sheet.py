"""What a job that looks at pictures ends with: a contact sheet with a row per picture, and its metrics."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import DeadTarget, InvalidRequest, Problem
from worker.engine.render import Pixels, encode_png, render_contact_sheet
from worker.pairs import Pair, Pairs
from worker.recording import shrink
from worker.task import Task

SIDE = 200
"""Of a cell in pixels."""

ROWS, COLUMNS = 50, 9
"""So many pictures at most, and of each the first targets."""

Cell = tuple[Pixels, str]


@dataclass(frozen=True)
class Sheet:
    """What it holds so far: cells by picture.

    Attributes:
        show: Shows the newest pictures (H, W, 3) to those who follow the job.
        columns: How many a row may have when more are added.
    """

    show: Callable[[Sequence[Pixels]], None]
    columns: int = COLUMNS
    rows: dict[str, list[Cell]] = field(default_factory=dict)

    def add(self, pair: Pair, shown: Pixels, cells: Sequence[Cell]) -> None:
        """Adds what was made of a pair to its picture's row, where there is room.

        Args:
            shown: The picture, as the row begins.
        """
        self.show([pixels for pixels, _ in cells])
        image = pair.picture.id
        if image in self.rows or len(self.rows) < ROWS:
            row = self.rows.setdefault(image, [(shrink(shown, SIDE), "picture")])
            row += [(shrink(pixels, SIDE), label) for pixels, label in cells] if len(row) < self.columns else []

    def save(self, task: Task[Any]) -> None:
        task.save("contact-sheet.png", encode_png(render_contact_sheet(list(self.rows.values()), side=SIDE)))


def explain_nothing(task: Task[Any], pairs: Pairs) -> Problem:
    """Why there is nothing to show."""
    if pairs.failed:
        return next(iter(pairs.failed.values()))
    if not task.entries:
        return InvalidRequest("there are no pictures in that place; name one that has some")
    return DeadTarget("nothing has a gradient at these pictures; try another layer, target, noise or learning_rate")


def finish(task: Task[Any], pairs: Pairs, sheet: Sheet, metrics: dict[str, Any]) -> dict[str, Any]:
    """Saves the files of the whole job; its metrics, with what is wrong with the pictures that could not be read.

    Raises:
        Problem: Of the first picture, where none could be read; or there is none, or nothing came of any.
    """
    if not sheet.rows:
        raise explain_nothing(task, pairs)
    if pairs.failed:
        failed = pairs.failed.items()
        metrics["failed"] = [
            {"image": name, "error": problem.document.model_dump(mode="json")} for name, problem in failed
        ]
    if pairs.repeated:
        metrics["repeated"] = pairs.repeated
    sheet.save(task)
    task.save("metrics.json", json.dumps(metrics, indent=1).encode())
    return metrics
