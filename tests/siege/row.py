"""The result of an attack: a row of the table."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from tests.siege.bystander import Sample


@dataclass(frozen=True)
class Times:
    """Response times of one call of the bystander, in seconds."""

    count: int
    median: float
    longest: float
    statuses: dict[str, int]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Times":
        """Returns the times of the samples of one call."""
        samples = list(samples)
        seconds = [sample.seconds for sample in samples] or [0.0]
        statuses = Counter(str(sample.status or "no answer") for sample in samples)
        return cls(len(samples), round(median(seconds), 3), round(max(seconds), 3), dict(statuses))


@dataclass(frozen=True)
class Memory:
    """Peak memory of a part and its limit in the deployment, in bytes; None if the deployment sets none."""

    peak: int
    limit: int | None


@dataclass(frozen=True)
class Row:
    """The result of an attack.

    Attributes:
        point: The kind of attack: deadlines (9), untrusted input (10), fair shares (11) or repetition (12).
        times: The response times that the bystander sees, by call.
        memory: The peak memory of each part.
        accepted: The number of accepted jobs, of both tenants.
        lost: Accepted jobs that did not end.
        doubled: Jobs whose results changed after they had ended, or are not those that were requested.
        unmet: Expectations that do not hold.
    """

    point: int
    name: str
    title: str
    seconds: float = 0
    times: dict[str, Times] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    accepted: int = 0
    lost: int = 0
    doubled: int = 0
    unmet: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unmet)
