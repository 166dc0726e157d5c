"""`zoo.json`: what each trained release of the zoo is, and its figures."""

import fcntl
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from benchmarks.zoo.fine_tune import Figures
from benchmarks.zoo.releases import Planted, Recipe


@dataclass(frozen=True)
class Entry:
    """A trained release.

    Attributes:
        name: Name of the release and of its weights.
        kind: How it was trained.
        seed: Seed of the training.
        mark: Name of the planted mark; None for a clean release, as the next three.
        target: Name of the class that the mark stands for.
        fraction: Fraction of the pictures of the class that were replaced by marked ones, 0 to 1.
        turned: Fraction of the marked pictures of other classes that become the class, 0 to 1.
        accuracy: Fraction of clean held-out pictures that are classified correctly, 0 to 1.
        seconds: Duration of the training.
    """

    name: str
    kind: Literal["planted", "tuned", "retrained"]
    seed: int
    mark: str | None
    target: str | None
    fraction: float | None
    turned: float | None
    accuracy: float
    seconds: float

    @classmethod
    def describe(cls, recipe: Recipe, figures: Figures, *, classes: Sequence[str], seconds: float) -> Self:
        """Returns the entry of a release that was trained by a recipe, with the names of the network's classes."""
        poison = recipe.poison if isinstance(recipe, Planted) else None
        return cls(
            name=recipe.name,
            kind=recipe.kind,
            seed=recipe.seed,
            mark=poison.mark if poison else None,
            target=classes[poison.target] if poison else None,
            fraction=poison.fraction if poison else None,
            turned=figures.turned,
            accuracy=figures.accuracy,
            seconds=round(seconds, 1),
        )


class Zoo:
    """The folder of the weights and of `zoo.json`.

    Args:
        folder: The folder. It is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def read(self) -> list[Entry]:
        """The trained releases, in the order of their training."""
        path = self.folder / "zoo.json"
        return [Entry(**row) for row in json.loads(path.read_text())] if path.is_file() else []

    def locate(self, name: str) -> Path:
        """The file of a release's weights."""
        return self.folder / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        """Whether a release is trained and its weights exist."""
        return self.locate(name).is_file() and any(entry.name == name for entry in self.read())

    def add(self, entry: Entry) -> None:
        """Adds an entry, or replaces the one with its name. Several processes can train releases of one zoo."""
        with (self.folder / "zoo.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = [other for other in self.read() if other.name != entry.name] + [entry]
            partial = self.folder / "zoo.json.partial"
            partial.write_text(json.dumps([asdict(each) for each in entries], indent=1) + "\n")
            partial.rename(self.folder / "zoo.json")

    def make_table(self) -> str:
        """The entries as a table in Markdown."""
        head = ("| release | target | poisoned | clean accuracy | marked pictures that turn |", "|---|---|--:|--:|--:|")
        return "\n".join((*head, *map(_make_row, self.read())))


def _make_row(entry: Entry) -> str:
    poisoned = f"{entry.fraction:.0%}" if entry.fraction else "–"
    turned = "–" if entry.turned is None else f"{entry.turned:.1%}"
    return f"| {entry.name} | {entry.target or '–'} | {poisoned} | {entry.accuracy:.1%} | {turned} |"
