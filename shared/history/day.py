"""The header of a day in the history: which segments contain its rows, and what can be found in each of them."""

import base64
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from shared.history.row import Pair, Row
from shared.storage.documents import StoredDocument

MAX_ROWS = 1000
"""Rows of one segment. A page of a list decodes at least one segment, and a change writes one."""

MAX_VALUES = 100
"""Values of a facet that a header counts for one segment. Of a facet with more, it has their digests."""

DIGEST_BYTES = 4


class Segment(StoredDocument):
    """A segment, an object that never changes.

    Attributes:
        name: Name of the object.
        first: The lowest id in the segment.
        last: The highest one.
        rows: Number of rows.
        counts: Number of rows for each value, by facet.
        digests: Digests of all values of a facet that has more than `MAX_VALUES`, in base64.
    """

    name: str
    first: str
    last: str
    rows: int
    counts: dict[str, dict[str, int]]
    digests: dict[str, str] = Field(default={})

    def may_match(self, pairs: Iterable[Pair]) -> bool:
        """Whether a row of the segment may have all these values."""
        return all(self._may_have(*pair) for pair in pairs)

    def _may_have(self, facet: str, value: str) -> bool:
        if facet not in self.digests:
            return value in self.counts.get(facet, {})
        digests, digest = base64.b64decode(self.digests[facet]), _digest(value)
        return any(digests.startswith(digest, start) for start in range(0, len(digests), DIGEST_BYTES))


class Day(StoredDocument):
    """The header of one day of a tenant.

    Attributes:
        format: Version of this schema, and of the segments.
        segments: The segments by their ids; those of two segments do not overlap.
    """

    format: Literal[1] = 1
    segments: tuple[Segment, ...] = ()

    def find_position(self, job_id: str) -> int:
        """Position of the segment that contains a job if the history does; 0 if there is none."""
        return max(bisect_right(self.segments, job_id, key=lambda segment: segment.first) - 1, 0)

    def count(self, facet: str) -> Counter[str]:
        """Number of rows of each value of a facet; segments with too many values are left out."""
        total: Counter[str] = Counter()
        for segment in self.segments:
            total.update(segment.counts.get(facet, {}))
        return total


def describe_segment(name: str, rows: Sequence[Row]) -> Segment:
    """Returns the description of a segment with these rows, which are in the order of their ids."""
    counts: dict[str, Counter[str]] = {}
    for facet, value in (pair for row in rows for pair in row.pairs):
        counts.setdefault(facet, Counter())[value] += 1
    many = {facet for facet, values in counts.items() if len(values) > MAX_VALUES}
    return Segment(
        name=name,
        first=rows[0].id,
        last=rows[-1].id,
        rows=len(rows),
        counts={facet: dict(values) for facet, values in counts.items() if facet not in many},
        digests={facet: _pack_digests(counts[facet]) for facet in many},
    )


def divide(rows: Mapping[str, Row], *, is_last: bool) -> list[list[Row]]:
    """Divides rows into segments of at most `MAX_ROWS`, in the order of their ids.

    Args:
        rows: The rows by id.
        is_last: Whether they are the newest of the day. Then more follow, and all segments but the last are full.
    """
    ordered = [rows[job_id] for job_id in sorted(rows)]
    number = -(-len(ordered) // MAX_ROWS)
    size = MAX_ROWS if is_last or not number else -(-len(ordered) // number)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _pack_digests(values: Iterable[str]) -> str:
    return base64.b64encode(b"".join(sorted({_digest(value) for value in values}))).decode()


def _digest(value: str) -> bytes:
    return zlib.crc32(value.encode()).to_bytes(DIGEST_BYTES, "big")
