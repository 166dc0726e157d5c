"""Metrics that are collected in a process before they are written to Redis."""

import json

import pytest

from shared.errors import Unavailable
from shared.settings import Settings
from shared.state.metrics import HISTOGRAM_BOUNDS, METRICS, MetricBuffer, increment, set_gauge
from shared.state.redis_client import RedisClient


@pytest.fixture
def nowhere() -> RedisClient:
    """A Redis that does not answer."""
    return RedisClient(Settings(redis_url="redis://127.0.0.1:1/0"))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_description(name: str) -> None:
    assert METRICS[name].help.endswith(".")
    assert name.startswith("archetype_")


def test_counts_of_the_same_labels_are_added() -> None:
    metrics = MetricBuffer()
    metrics.add("archetype_batches", "shapes@1")
    metrics.add("archetype_batches", "shapes@1", by=2)
    metrics.add("archetype_batches", "other@1")
    assert {tuple(json.loads(name)): count for name, count in metrics.fields.items()} == {
        ("archetype_batches", "shapes@1"): 3,
        ("archetype_batches", "other@1"): 1,
    }


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0, "0.1"), (0.1, "0.1"), (0.11, "0.5"), (7200, "7200"), (HISTOGRAM_BOUNDS[-1] + 1, "+Inf")]
)
def test_a_duration_is_counted_in_one_bucket_and_added_to_the_sum(seconds: float, bound: str) -> None:
    metrics = MetricBuffer()
    metrics.observe("archetype_run_seconds", "fool", "failed", seconds=seconds)
    labels = ["archetype_run_seconds", "fool", "failed"]
    assert metrics.fields == {json.dumps([*labels, f"le={bound}"]): 1, json.dumps([*labels, "sum"]): seconds}


def test_counts_are_kept_while_redis_does_not_answer(nowhere: RedisClient) -> None:
    with pytest.raises(Unavailable):
        nowhere.ping()
    metrics = MetricBuffer()
    metrics.add("archetype_batches", "shapes@1")
    metrics.flush(nowhere)
    assert list(metrics.fields.values()) == [1]
    increment(nowhere, "archetype_jobs_retried")
    set_gauge(nowhere, "archetype_audits_missing", 1)
