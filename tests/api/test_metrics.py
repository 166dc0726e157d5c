"""What Prometheus is told: what workers and API counted together."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Stack
from shared.client import Client
from shared.counters import METRICS, WAITS, Counts, read_counts
from shared.methods import ClassModel
from shared.records import Records


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
    request = ClassModel(method="class_model", model="shapes", targets=[0], priority="bulk", params={"steps": 4})  # type: ignore[arg-type]
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


def test_what_is_counted_is_described_once(stack: Stack) -> None:
    records = Records(stack.settings)
    assert {name for name, *_ in read_counts(records)} <= set(METRICS)
    counts = Counts()
    counts.observe("archetype_run_seconds", "m", "s", seconds=WAITS[-1] + 1)
    assert any("+Inf" in place for place in counts.fields)
