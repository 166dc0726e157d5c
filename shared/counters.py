"""What the whole service counts, in Redis: every process adds to the same figures, and one address shows them all.

A worker may come and go between two looks of Prometheus; what it counted stays.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, cast

from shared.errors import Unavailable
from shared.jobs import Job
from shared.records import Records, key

Labels = tuple[str, ...]

WAITS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)
"""Upper bounds of a histogram's buckets in seconds."""


@dataclass(frozen=True)
class Metric:
    """Something that is counted.

    Attributes:
        labels: What it is told apart by.
    """

    kind: Literal["counter", "histogram", "gauge"]
    help: str
    labels: Labels = ()


METRICS = {
    "archetype_jobs_ended": Metric("counter", "Jobs that ended.", ("state", "method", "model")),
    "archetype_queue_seconds": Metric("histogram", "From accepted to first claimed.", ("method", "priority")),
    "archetype_run_seconds": Metric("histogram", "From first claimed to ended.", ("method", "state")),
    "archetype_artifacts": Metric("counter", "Files that jobs made.", ("method", "model")),
    "archetype_targets": Metric("counter", "Targets, or pairs of picture and target, worked on.", ("family", "model")),
    "archetype_batches": Metric("counter", "Batches computed.", ("model",)),
    "archetype_batch_slots": Metric("counter", "Places that were taken in those batches.", ("model",)),
    "archetype_batch_places": Metric("counter", "Places that there were; slots over places is the fill.", ("model",)),
    "archetype_shares_returned": Metric("counter", "Shares that went back to the queue, or were given up.", ("why",)),
    "archetype_jobs_retried": Metric("counter", "Jobs that were submitted again."),
    "archetype_schedules_fired": Metric("counter", "Lines of cron that were due.", ("outcome",)),
    "archetype_audits_triggered": Metric("counter", "Audits that a schedule asked for.", ("outcome",)),
    "archetype_audits_missing": Metric("gauge", "Releases of a schedule that nothing came of, at the last look."),
    "archetype_scheduler_looked_timestamp_seconds": Metric("gauge", "When the scheduler last looked around."),
    "archetype_webhook_tries": Metric("counter", "Tries to deliver a webhook.", ("outcome",)),
}


@dataclass
class Counts:
    """What was counted and not yet written down: a field of the hash, and by how much it grows."""

    fields: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Counts something of `METRICS`, with the values of its labels."""
        self._add([name, *labels], by)

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        """Notes how long something of `METRICS` took."""
        bound = next((str(bound) for bound in WAITS if seconds <= bound), "+Inf")
        self._add([name, *labels, f"le={bound}"], 1)
        self._add([name, *labels, "sum"], seconds)

    def _add(self, parts: list[str], by: float) -> None:
        place = json.dumps(parts)
        self.fields[place] = self.fields.get(place, 0) + by

    def write(self, records: Records) -> None:
        """Adds them to what all have counted; where Redis does not answer they are kept for later."""
        with suppress(Unavailable), records.connection() as redis, redis.pipeline(transaction=True) as pipe:
            for place, by in self.fields.items():
                pipe.hincrbyfloat(key("counters"), place, by)
            pipe.execute()
            self.fields.clear()


def note(records: Records, name: str, value: float) -> None:
    """Notes how a gauge stands; it stands so until it is noted again."""
    with suppress(Unavailable), records.connection() as redis:
        redis.hset(key("counters"), json.dumps([name]), str(value))


def count(records: Records, name: str, *labels: str) -> None:
    """Counts one thing."""
    counts = Counts()
    counts.add(name, *labels)
    counts.write(records)


def count_end(records: Records, job: Job) -> None:
    """Counts a job that ended, with how long it waited and ran."""
    counts = Counts()
    counts.add("archetype_jobs_ended", job.state, job.method, job.model)
    counts.add("archetype_artifacts", job.method, job.model, by=len(job.artifacts))
    if job.started_at is not None:
        waited = (job.started_at - job.created_at).total_seconds()
        counts.observe("archetype_queue_seconds", job.method, job.priority, seconds=max(0, waited))
        if job.finished_at is not None:
            ran = (job.finished_at - job.started_at).total_seconds()
            counts.observe("archetype_run_seconds", job.method, job.state, seconds=max(0, ran))
    counts.write(records)


def read_counts(records: Records) -> Iterator[tuple[str, Labels, str | None, float]]:
    """Everything that was counted: the metric, its labels, for a histogram the bucket or `sum`, and the figure."""
    with records.connection() as redis:
        found = cast("Mapping[str, str]", redis.hgetall(key("counters")))
    for place, value in found.items():
        name, *labels = json.loads(place)
        known = METRICS.get(name)
        if known is not None:
            part = labels.pop().removeprefix("le=") if known.kind == "histogram" else None
            yield name, tuple(labels), part, float(value)
