"""Evidence in a report: groups of pictures, each picture as a `data:` URL."""

from typing import Literal

from pydantic import Field

from archetype.contract.job import Document


class Picture(Document):
    """A picture with its caption."""

    source: str = Field(description="The picture as a `data:` URL.")
    title: str = Field(description="Description of the picture for people who cannot see it.")
    caption: str = Field(default="", description="Text below the picture.")


class PictureGroup(Document):
    """Pictures that belong together."""

    title: str = Field(description="What the pictures show.")
    pictures: list[Picture] = Field(description="The pictures, in the order in which they are read.")
    is_wide: bool = Field(default=False, description="Whether each picture is a sheet that needs the full width.")
    columns: int | None = Field(
        default=None, description="Number of pictures in a row; null if as many as the width allows."
    )


class Evidence(Document):
    """The evidence about one class, or about the whole release."""

    baseline: str | None = Field(default=None, description="Baseline of the comparison; null if there is none.")
    target: str | None = Field(default=None, description="Name of the class; null if it is about all classes.")
    kind: Literal["finding", "reference", "change"] = Field(
        description="`finding` if a finding is about the class, `reference` if it is shown without a finding, `change` "
        "if the pictures show what changed, which no gate judges."
    )
    groups: list[PictureGroup] = Field(description="Groups of pictures.")


class Table(Document):
    """A table of measurements, as the pages show it."""

    title: str = Field(description="What the table shows.")
    header: list[str] = Field(description="Titles of the columns.")
    rows: list[list[str]] = Field(description="Texts of the cells, row by row.")
    left_out: int = Field(default=0, description="Number of further rows that the table leaves out.")
