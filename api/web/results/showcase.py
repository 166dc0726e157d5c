"""The gallery of the first page: what a well-known network has learned, as images that are shipped with the service.

`python -m deploy.demos.showcase` draws it.
"""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parents[1] / "static" / "showcase"
INDEX = FOLDER / "classes.json"


class Judgement(BaseModel):
    """What another network sees in an image: its first guess, and how high it ranks the drawn class."""

    rank: int
    name: str
    probability: float


class DrawnClass(BaseModel):
    """A class of the gallery.

    Attributes:
        probabilities: Probability that the network gives the class for the image of each seed, the best first.
        judged: What another network sees in the image of each seed.
    """

    index: int
    name: str
    probabilities: list[float]
    judged: list[Judgement]


class Showcase(BaseModel):
    """What the gallery shows.

    Attributes:
        model: The release that was drawn, as `name@release`.
        network: Its name.
        judge: Name of the other network.
        steps: Steps of the ascent that are shown.
        classes: The classes, by index.
    """

    model: str
    network: str
    judge: str
    steps: list[int]
    classes: list[DrawnClass]

    def search(self, text: str) -> list[DrawnClass]:
        """The classes whose name contains a text."""
        return [entry for entry in self.classes if text.strip().lower() in entry.name.lower()]

    def find(self, index: int) -> DrawnClass | None:
        """The class with an index; None if it was not drawn."""
        return next((entry for entry in self.classes if entry.index == index), None)

    def count_recognized(self, rank: int) -> int:
        """Number of classes whose best image the other network recognizes within so many guesses."""
        return sum(entry.judged[0].rank <= rank for entry in self.classes)


class ShowcaseQuery(BaseModel):
    """The query string of the first page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: str = Field(default="", max_length=200, description="A part of the names of the classes that are shown.")


@cache
def load_showcase() -> Showcase:
    """Reads what the gallery shows."""
    return Showcase.model_validate_json(INDEX.read_text())
