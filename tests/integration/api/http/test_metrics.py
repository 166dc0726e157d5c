"""Prometheus metrics: what workers and API have counted together."""

import time

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from archetype.client import Client
from archetype.contract.api_key import Scope
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.local import Stack
from shared.state.keys import key
from shared.state.metrics import HISTOGRAM_BOUNDS, METRICS, MetricBuffer, read_metrics
from shared.state.queue_depth import read_queue_depth
from shared.state.redis_client import RedisClient
from tests.support.callers import issue_token, make_app_client


def scrape(stack: Stack) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(httpx2.get(f"{stack.url}/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def total(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return sum(
        value for (sample, pairs), value in samples.items() if sample == name and set(labels.items()) <= set(pairs)
    )


def test_a_job_is_counted_with_its_waiting_and_running_time(stack: Stack, client: Client) -> None:
    before = scrape(stack)
    request = ClassModel(method="class_model", model="shapes", targets=[0, 1, 2], priority="bulk", params={"steps": 4})  # type: ignore[arg-type]
    client.wait(client.submit(request).id, timeout=400)
    after = scrape(stack)

    def grew(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grew("archetype_jobs_ended_total", state="succeeded", method="class_model", model="shapes@1") >= 1
    assert grew("archetype_queue_seconds_count", method="class_model", priority="bulk") == 1
    assert grew("archetype_run_seconds_count", method="class_model", state="succeeded") >= 1
    assert grew("archetype_run_seconds_sum") > 0
    assert grew("archetype_artifacts_total", model="shapes@1") > 3
    assert total(after, "archetype_workers") == 1


def test_used_and_available_batch_slots_are_counted_when_a_lane_run_ends(stack: Stack, client: Client) -> None:
    samples = scrape(stack)
    assert 0 < total(samples, "archetype_batch_slots_total") <= total(samples, "archetype_batch_places_total")
    assert total(samples, "archetype_targets_total", model="shapes@1", family="class_model") >= 3


def test_running_and_queued_jobs_are_reported_with_their_age(stack: Stack, client: Client) -> None:
    params = ClassModelParameters(steps=3000, extras=False)
    jobs = [
        client.submit(ClassModel(method="class_model", model=model, targets=["lemon"], params=params, priority="bulk"))
        for model in ("shapes", "shapes", "shapes")
    ]
    limit = time.monotonic() + 60
    while not total(samples := scrape(stack), "archetype_shares", state="running"):
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert total(samples, "archetype_shares") == len(jobs)
    assert total(samples, "archetype_job_oldest_seconds", state="running") > 0
    for job in jobs:
        client.cancel(job.id)


def test_queued_shards_are_counted_by_lane_and_running_jobs_have_no_waiting_time(stack: Stack) -> None:
    redis_client, lane, moment = RedisClient(stack.settings), "a test's lane", time.time()
    ages = {"begun": 500, "waits": 90, "new": 0}
    before = read_queue_depth(redis_client)
    with redis_client.connection() as redis:
        for name in ages:
            redis.hset(key(f"job:{name}"), "state", "running" if name == "begun" else "queued")
        redis.zadd(key("lanes:bulk"), {lane: 0})
        redis.zadd(key(f"pending:bulk:{lane}"), {f"{name}:0": (moment - age) * 1000 for name, age in ages.items()})
        try:
            after = read_queue_depth(redis_client)
        finally:
            redis.zrem(key("lanes:bulk"), lane)
            redis.delete(key(f"pending:bulk:{lane}"), *(key(f"job:{name}") for name in ages))
    assert after.queued == before.queued + 3
    assert after.oldest["bulk"] == pytest.approx(90, abs=5)


def test_the_scheduler_reports_its_last_poll_and_the_missing_audits(stack: Stack) -> None:
    limit = time.monotonic() + 30
    while not total(samples := scrape(stack), "archetype_scheduler_looked_timestamp_seconds"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert abs(time.time() - total(samples, "archetype_scheduler_looked_timestamp_seconds")) < 30
    assert ("archetype_audits_missing", ()) in samples


def test_every_counted_metric_is_described(stack: Stack) -> None:
    redis_client = RedisClient(stack.settings)
    assert {name for name, *_ in read_metrics(redis_client)} <= set(METRICS)
    counts = MetricBuffer()
    counts.observe("archetype_run_seconds", "m", "s", seconds=HISTOGRAM_BOUNDS[-1] + 1)
    assert any("+Inf" in place for place in counts.fields)


def test_the_metrics_are_for_the_operator_and_the_holder_of_their_token(stack: Stack, operator: Client) -> None:
    assert stack.settings.operator_token is not None
    http = make_app_client(stack, keyless_loopback=False, metrics_token=SecretStr("scrape"))
    tenant = issue_token(operator, "vision", scopes=list(Scope))
    codes = {
        token: http.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in ("scrape", stack.settings.operator_token.get_secret_value(), tenant, "wrong", "")
    }
    assert list(codes.values()) == [200, 200, 403, 401, 401]
    assert http.get("/metrics").status_code == 401
    assert http.get("/v1/jobs", headers={"Authorization": "Bearer scrape"}).status_code == 401


@pytest.mark.parametrize("token", [None, SecretStr(""), SecretStr(" ")])
def test_without_a_token_of_their_own_the_metrics_are_closed_to_callers_without_a_key(
    stack: Stack, token: SecretStr | None
) -> None:
    http = make_app_client(stack, keyless_loopback=False, metrics_token=token)
    for header in ("Bearer ", "Bearer", "Bearer None"):
        assert http.get("/metrics", headers={"Authorization": header}).status_code == 401
    assert make_app_client(stack, metrics_token=token).get("/metrics").status_code == 200  # the local stack
