"""What Prometheus is told: what workers and API counted together."""

import time

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Stack
from shared.backlog import read_backlog
from shared.client import Client
from shared.counters import METRICS, WAITS, Counts, read_counts
from shared.methods import ClassModel
from shared.parameters.class_model import ClassModelParameters
from shared.records import Records, key


def scrape(stack: Stack) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(httpx2.get(f"{stack.url}/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def total(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return sum(value for (known, given), value in found.items() if known == name and set(labels.items()) <= set(given))


def test_a_job_is_counted_with_how_long_it_waited_and_ran(stack: Stack, client: Client) -> None:
    before = scrape(stack)
    request = ClassModel(method="class_model", model="shapes", targets=[0, 1, 2], priority="bulk", params={"steps": 4})  # type: ignore[arg-type]
    client.wait(client.submit(request).id, timeout=60)
    after = scrape(stack)

    def grew(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grew("archetype_jobs_ended_total", state="succeeded", method="class_model", model="shapes@1") >= 1
    assert grew("archetype_queue_seconds_count", method="class_model", priority="bulk") == 1
    assert grew("archetype_run_seconds_count", method="class_model", state="succeeded") >= 1
    assert grew("archetype_run_seconds_sum") > 0
    assert grew("archetype_artifacts_total", model="shapes@1") > 3
    assert total(after, "archetype_workers") == 1


def test_how_full_batches_were_is_known_once_a_lane_run_has_ended(stack: Stack, client: Client) -> None:
    found = scrape(stack)
    assert 0 < total(found, "archetype_batch_slots_total") <= total(found, "archetype_batch_places_total")
    assert total(found, "archetype_targets_total", model="shapes@1", family="class_model") >= 3


def test_what_waits_is_told_with_its_age(stack: Stack, client: Client) -> None:
    params = ClassModelParameters(steps=3000, extras=False)
    jobs = [
        client.submit(ClassModel(method="class_model", model=model, targets=["lemon"], params=params, priority="bulk"))
        for model in ("shapes", "shapes", "shapes")
    ]
    limit = time.monotonic() + 60
    while not total(found := scrape(stack), "archetype_shares", state="running"):
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert total(found, "archetype_shares") == len(jobs)
    assert total(found, "archetype_job_oldest_seconds", state="running") > 0
    for job in jobs:
        client.cancel(job.id)


def test_what_waits_is_counted_by_lanes_and_of_what_is_begun_no_age_is_told(stack: Stack) -> None:
    records, lane, moment = Records(stack.settings), "a test's lane", time.time()
    ages = {"begun": 500, "waits": 90, "new": 0}
    before = read_backlog(records)
    with records.connection() as redis:
        for name in ages:
            redis.hset(key(f"job:{name}"), "state", "running" if name == "begun" else "queued")
        redis.zadd(key("lanes:bulk"), {lane: 0})
        redis.zadd(key(f"pending:bulk:{lane}"), {f"{name}:0": (moment - age) * 1000 for name, age in ages.items()})
        try:
            after = read_backlog(records)
        finally:
            redis.zrem(key("lanes:bulk"), lane)
            redis.delete(key(f"pending:bulk:{lane}"), *(key(f"job:{name}") for name in ages))
    assert after.queued == before.queued + 3
    assert after.oldest["bulk"] == pytest.approx(90, abs=5)


def test_the_scheduler_says_when_it_looked_and_what_is_missing(stack: Stack) -> None:
    limit = time.monotonic() + 30
    while not total(found := scrape(stack), "archetype_scheduler_looked_timestamp_seconds"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert abs(time.time() - total(found, "archetype_scheduler_looked_timestamp_seconds")) < 30
    assert ("archetype_audits_missing", ()) in found


def test_what_is_counted_is_described_once(stack: Stack) -> None:
    records = Records(stack.settings)
    assert {name for name, *_ in read_counts(records)} <= set(METRICS)
    counts = Counts()
    counts.observe("archetype_run_seconds", "m", "s", seconds=WAITS[-1] + 1)
    assert any("+Inf" in place for place in counts.fields)
