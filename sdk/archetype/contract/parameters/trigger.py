"""Parameters of the method `trigger`: which changes are searched, and how thoroughly."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from archetype.contract.parameters.types import ImageParameters, Seed

TriggerFamily = Literal["mask", "additive", "bounded", "color", "frame", "frequency", "patch", "crop"]

FAMILIES: list[TriggerFamily] = ["mask", "additive", "bounded", "color", "frame", "frequency", "patch", "crop"]


def _check_unique(values: list[TriggerFamily]) -> list[TriggerFamily]:
    if len(set(values)) < len(values):
        raise ValueError("give each family only once")
    return values


class TriggerParameters(ImageParameters):
    """The families of changes, and the effort of the search."""

    families: Annotated[list[TriggerFamily], Field(min_length=1, max_length=8), AfterValidator(_check_unique)] = Field(
        default=FAMILIES,
        description="Kinds of changes to search: a `mask` with a pattern; an `additive` pattern with a small root mean "
        "square, or `bounded` in every pixel; a `color` map; a plain `frame`; stripes (`frequency`); a square `patch` "
        "at any place; a `crop` of another image.",
    )
    steps: int = Field(default=60, ge=5, le=2000, description="Steps of the coarse search of all classes.")
    fine_steps: int = Field(
        default=100, ge=5, le=5000, description="Steps of the fine search of suspicious classes, with every seed."
    )
    suspicious: int = Field(
        default=6, ge=1, le=100, description="Largest number of pairs of class and family that are searched finely."
    )
    carriers: int = Field(default=4, ge=1, le=64, description="Images that each class uses at each step.")
    seeds: list[Seed] = Field(
        default=[1, 2],
        min_length=1,
        max_length=4,
        description="Random seeds. The coarse search uses the first one; a trigger counts only if all seeds find it.",
    )
