"""The comparison of jobs: which can be compared, what differs between their requests, and their results in rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from api.web.results.gallery import GalleryItem, GalleryQuery
from archetype.contract.job import Job, State
from archetype.contract.request import METHODS
from archetype.contract.strict_json import dump_json

MAX_JOBS = 4
"""Number of jobs that are compared at once."""

NOT_COMPARED = ("method", "images", "archive", "prefix", "tags", "webhook", "deadline")
"""Fields of a request that do not explain differences between results."""


class ComparisonQuery(GalleryQuery):
    """The query string of the comparison: the jobs, and which jobs are offered."""

    job: list[str] = Field(default=[], max_length=MAX_JOBS)
    search: str = Field(default="", max_length=200, description="A tag of the jobs that are offered.")

    @model_validator(mode="before")
    @classmethod
    def _read_pair(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Reads `left` and `right`, the names of earlier versions, and drops repetitions."""
        pair = [fields.pop(name, "") for name in ("left", "right")]
        jobs = dict.fromkeys(job[:26] for job in [*fields.get("job", []), *pair] if job)
        return fields | {"job": list(jobs)}


class Difference(NamedTuple):
    """A part of the requests that differs.

    Attributes:
        name: Where it is, such as `params.steps`.
        values: Its value in each job, as text; empty where it is missing.
    """

    name: str
    values: list[str]


def explain_refusal(jobs: Sequence[Job]) -> str | None:
    """Why jobs cannot be compared, in a sentence; None if they can."""
    audits = [job for job in jobs if job.method not in METHODS]
    if audits:
        return f"{audits[0].id} is an audit: its report compares the releases."
    methods = list(dict.fromkeys(job.method.replace("_", " ") for job in jobs))
    if len(methods) > 1:
        return f"Results of {' and '.join(methods)} show different things: choose jobs of one method."
    unfinished = [job for job in jobs if job.state is not State.SUCCEEDED]
    if unfinished:
        return f"{unfinished[0].id} has no results to compare: it {_describe(unfinished[0].state)}."
    return None


def _describe(state: State) -> str:
    if state in {State.QUEUED, State.RUNNING}:
        return f"is {state}"
    return "was cancelled" if state is State.CANCELLED else str(state)


def list_differences(jobs: Sequence[Job], specs: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """What differs between the requests of jobs, in the order of the requests."""
    sides = [
        dict(flatten({"release": job.model, **{name: value for name, value in spec.items() if name != "model"}}))
        for job, spec in zip(jobs, specs, strict=True)
    ]
    names = dict.fromkeys(name for side in sides for name in side if name.partition(".")[0] not in NOT_COMPARED)
    rows = (Difference(name, [side.get(name, "") for side in sides]) for name in names)
    return [row for row in rows if len(set(row.values)) > 1]


def flatten(fields: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    """Yields the values of nested objects as texts, with their paths."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{start}{name}.")
        elif value is not None:
            yield f"{start}{name}", value if isinstance(value, str) else dump_json(value)


def align(galleries: Sequence[Sequence[GalleryItem]]) -> list[list[GalleryItem | None]]:
    """Arranges the items of jobs in rows by class and image; None where a job has no such item."""
    sides = [{(item.title, item.image): item for item in gallery} for gallery in galleries]
    keys = dict.fromkeys(key for side in sides for key in side)
    return [[side.get(key) for side in sides] for key in keys]


def find_difference(row: Sequence[GalleryItem | None]) -> tuple[str, str] | None:
    """The paths of the two images of a row of two jobs whose difference is shown; None if there are none."""
    if len(row) != 2 or row[0] is None or row[1] is None:
        return None
    for role in ("heat_map", "image"):
        if all(item and role in item.images for item in row):
            return row[0].images[role].href, row[1].images[role].href
    return None
