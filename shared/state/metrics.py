"""Metrics of the whole service in Redis: all processes add to the same values, and the API exports them.

Workers are not scraped by Prometheus: a worker may start and stop between two scrapes, and its counts must not be lost.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, cast

from archetype.contract.job import Job
from archetype.contract.strict_json import dump_json, load_json
from shared.errors import Unavailable
from shared.state.keys import key
from shared.state.redis_client import RedisClient

Labels = tuple[str, ...]

HISTOGRAM_BOUNDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)
"""Upper bounds of the buckets of all histograms, in seconds."""

VALUES = key("counters")
"""Key of a hash with one field for each metric and combination of labels."""


@dataclass(frozen=True)
class Metric:
    """Definition of a metric.

    Attributes:
        kind: Type of the metric in Prometheus.
        help: Description.
        labels: Names of its labels.
    """

    kind: Literal["counter", "histogram", "gauge"]
    help: str
    labels: Labels = ()


METRICS = {
    "archetype_jobs_ended": Metric("counter", "Finished jobs.", ("state", "method", "model")),
    "archetype_queue_seconds": Metric("histogram", "Time from acceptance to the first claim.", ("method", "priority")),
    "archetype_run_seconds": Metric("histogram", "Time from the first claim to the end.", ("method", "state")),
    "archetype_artifacts": Metric("counter", "Artifacts of finished jobs.", ("method", "model")),
    "archetype_targets": Metric("counter", "Computed targets, or pairs of image and target.", ("family", "model")),
    "archetype_batches": Metric("counter", "Computed batches.", ("model",)),
    "archetype_batch_slots": Metric("counter", "Used slots of the computed batches.", ("model",)),
    "archetype_batch_places": Metric("counter", "All slots of the computed batches, used or not.", ("model",)),
    "archetype_shares_returned": Metric("counter", "Shards that lost their worker: requeued or failed.", ("why",)),
    "archetype_jobs_retried": Metric("counter", "Jobs that were submitted again by a retry."),
    "archetype_schedules_fired": Metric("counter", "Cron schedules that became due.", ("outcome",)),
    "archetype_audits_triggered": Metric("counter", "Audits that schedules requested.", ("outcome",)),
    "archetype_audits_missing": Metric("gauge", "Releases without the audit that their schedule requires."),
    "archetype_scheduler_looked_timestamp_seconds": Metric("gauge", "Time of the scheduler's last run."),
    "archetype_webhook_tries": Metric("counter", "Attempts to deliver a webhook.", ("outcome",)),
}


@dataclass
class MetricBuffer:
    """Counts that are not yet in Redis.

    Attributes:
        fields: Fields of the hash, and how much each of them grows.
    """

    fields: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Adds to a counter.

        Args:
            name: A counter in `METRICS`.
            labels: Values of its labels.
            by: How much is added.
        """
        self._add([name, *labels], by)

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        """Adds a duration to a histogram.

        Args:
            name: A histogram in `METRICS`.
            labels: Values of its labels.
            seconds: The duration.
        """
        bound = next((str(bound) for bound in HISTOGRAM_BOUNDS if seconds <= bound), "+Inf")
        self._add([name, *labels, f"le={bound}"], 1)
        self._add([name, *labels, "sum"], seconds)

    def _add(self, parts: list[str], by: float) -> None:
        name = dump_json(parts)
        self.fields[name] = self.fields.get(name, 0) + by

    def flush(self, redis_client: RedisClient) -> None:
        """Adds all counts to those in Redis. If Redis does not answer, they are kept for the next call."""
        with suppress(Unavailable), redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            for name, by in self.fields.items():
                pipe.hincrbyfloat(VALUES, name, by)
            pipe.execute()
            self.fields.clear()


def set_gauge(redis_client: RedisClient, name: str, value: float) -> None:
    """Sets a gauge without labels. If Redis does not answer, the earlier value stays."""
    with suppress(Unavailable), redis_client.connection() as redis:
        redis.hset(VALUES, dump_json([name]), str(value))


def increment(redis_client: RedisClient, name: str, *labels: str) -> None:
    """Adds 1 to a counter. If Redis does not answer, nothing is counted."""
    metrics = MetricBuffer()
    metrics.add(name, *labels)
    metrics.flush(redis_client)


def count_finished_job(redis_client: RedisClient, job: Job) -> None:
    """Counts a finished job, and how long it waited and ran."""
    metrics = MetricBuffer()
    metrics.add("archetype_jobs_ended", job.state, job.method, job.model)
    metrics.add("archetype_artifacts", job.method, job.model, by=len(job.artifacts))
    if job.started_at is not None:
        waited = (job.started_at - job.created_at).total_seconds()
        metrics.observe("archetype_queue_seconds", job.method, job.priority, seconds=max(0, waited))
        if job.finished_at is not None:
            ran = (job.finished_at - job.started_at).total_seconds()
            metrics.observe("archetype_run_seconds", job.method, job.state, seconds=max(0, ran))
    metrics.flush(redis_client)


def read_metrics(redis_client: RedisClient) -> Iterator[tuple[str, Labels, str | None, float]]:
    """All values in Redis.

    Yields:
        Name of the metric, values of its labels, for a histogram the upper bound of the bucket or `sum` (otherwise
        None), and the value.
    """
    with redis_client.connection() as redis:
        fields = cast("Mapping[str, str]", redis.hgetall(VALUES))
    for field_name, value in fields.items():
        name, *labels = load_json(field_name)
        metric = METRICS.get(name)
        if metric is not None:
            part = labels.pop().removeprefix("le=") if metric.kind == "histogram" else None
            yield name, tuple(labels), part, float(value)
