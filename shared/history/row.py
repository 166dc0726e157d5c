"""The rows of the history: what lists show of an ended job, and how a segment of rows is stored."""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from archetype.contract.job import Job, links_of
from archetype.contract.strict_json import dump_json

NOT_IN_ROWS = {"artifacts", "metrics", "provenance", "links"}
"""Fields of a job that only its manifest has, and links, which follow from the id."""

Pair = tuple[str, str]
"""A facet and a value: `("method", "saliency")`. Lists are filtered by them."""


class Row(NamedTuple):
    """An ended job in the history.

    Attributes:
        id: The id of the job.
        pairs: The facets of the job with their values.
        text: The row as JSON: the job, the fence of its manifest, and the bytes of its artifacts.
    """

    id: str
    pairs: tuple[Pair, ...]
    text: str

    @property
    def job(self) -> Job:
        """The job without artifacts, metrics and provenance."""
        return Job.model_validate({"links": links_of(self.id)} | from_json(self.text)["job"])

    @property
    def bytes(self) -> int:
        """Bytes of all artifacts of the job."""
        return int(from_json(self.text)["bytes"])


def make_row(job: Job, *, fence: int, size: int) -> Row:
    """Returns the row of an ended job.

    Args:
        job: The job.
        fence: Fence of its manifest.
        size: Bytes of all its artifacts.
    """
    document = job.model_dump(mode="json", exclude=NOT_IN_ROWS, exclude_defaults=True)
    return _read_row(dump_json({"job": document, "manifest": fence, "bytes": size}))


def list_pairs(job: Mapping[str, Any]) -> list[Pair]:
    """Returns the facets of a job, given as a JSON object, with their values."""
    name = job["model"].partition("@")[0]
    pairs = [("state", job["state"]), ("method", job["method"]), ("model", name), ("model", job["model"])]
    return list(dict.fromkeys([*pairs, *(("tag", tag) for tag in job.get("tags", ()))]))


def pack(rows: Iterable[Row]) -> bytes:
    """Returns the content of a segment: one line of JSON for each row, compressed."""
    return gzip.compress("\n".join(row.text for row in rows).encode(), 6, mtime=0)


def unpack(data: bytes) -> Sequence[Row]:
    """Returns the rows of a segment, in the order of their ids."""
    shared: dict[Pair, Pair] = {}  # equal pairs of all rows are one object in memory
    rows = (_read_row(line) for line in gzip.decompress(data).decode().split("\n"))
    return [row._replace(pairs=tuple(shared.setdefault(pair, pair) for pair in row.pairs)) for row in rows]


def _read_row(text: str) -> Row:
    job = from_json(text)["job"]
    return Row(job["id"], tuple(list_pairs(job)), text)
