"""Triggers of a baseline are searched once, and stored for later audits of the same tenant."""

from dataclasses import replace

import pytest
import torch

from archetype.contract.job import Progress
from deploy.local import Stack
from shared.audits.searches import StoredSearches
from shared.storage import layout
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.marked import PLANTED, Marked
from tests.support.trigger_sides import GATE, QUICK, make_images, open_sides
from worker.audit.triggers.gate import compare_triggers
from worker.audit.triggers.judge import TriggerComparison
from worker.audit.triggers.known import add_triggers, decode, encode
from worker.engine.triggers.measure import Count, Trigger
from worker.engine.triggers.search import Slot
from worker.job.cobatch import run_alone


class Counted(Marked):
    """Counts the images that it classifies."""

    count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += len(x)
        return super().forward(x)


@pytest.fixture
def storage(stack: Stack) -> JobStore:
    return JobStore(Bucket(stack.settings))


@pytest.fixture
def searches(storage: JobStore) -> StoredSearches:
    return StoredSearches(storage.bucket, "trigger-tests")


def compare(
    searches: StoredSearches | None, baseline: Marked, subject_network: Marked | None = None
) -> TriggerComparison:
    progress: list[Progress] = []
    with open_sides(subject_network or Marked(), baseline) as (subject, other):
        steps = compare_triggers(subject, other, make_images(), GATE, thoroughness=QUICK, searches=searches)
        return run_alone(steps, progress.append)


def test_a_second_audit_reads_the_sizes_of_the_baseline_and_decides_the_same(searches: StoredSearches) -> None:
    baselines = [Counted(planted=False) for _ in range(3)]
    without, first, second = (
        compare(store, baseline) for store, baseline in zip((None, searches, searches), baselines, strict=True)
    )
    assert first.results == second.results == without.results
    assert first.findings == second.findings
    assert [each.reused for each in (without, first, second)] == [False, False, True]
    assert first.findings[0].target == f"class {PLANTED}"
    assert baselines[1].count == baselines[0].count
    assert baselines[2].count < 10 < baselines[0].count  # a network is probed when it is opened


def test_a_release_that_was_audited_is_known_when_it_becomes_the_baseline(searches: StoredSearches) -> None:
    first, second = Marked(planted=False), Counted(planted=False)
    for network in (first, second):
        network.weights.data *= 1.02
    compare(searches, Marked(planted=False), subject_network=first)
    assert compare(searches, second).findings
    unknown = Counted(planted=False)
    unknown.weights.data *= 1.03
    compare(searches, unknown)
    assert second.count < unknown.count / 1.5  # all but the fine search


def test_triggers_of_a_round_are_added_to_those_that_are_known() -> None:
    first, second = (
        Trigger(Slot(target, 1), torch.empty(0), 1.0, True, Count(1, 2), Count(1, 2), Count(0, 2)) for target in (0, 1)
    )
    known = {"fine mask": {first.slot: first}}
    add_triggers(known, {"fine mask": {second.slot: second}, "fine patch": {first.slot: first}})
    assert {name: list(triggers) for name, triggers in known.items()} == {
        "fine mask": [first.slot, second.slot],
        "fine patch": [first.slot],
    }
    assert decode(encode(known)).keys() == known.keys()


def test_a_baseline_with_other_weights_is_searched(searches: StoredSearches) -> None:
    compare(searches, Marked(planted=False))
    other = Counted(planted=False)
    other.weights.data *= 1.01
    compare(searches, other)
    assert other.count > 10


def test_searches_of_a_tenant_are_not_those_of_another(storage: JobStore, searches: StoredSearches) -> None:
    searches.save({"a": 1}, b"{}")
    assert searches.find({"a": 1}) == b"{}"
    assert searches.find({"a": 2}) is None
    assert StoredSearches(storage.bucket, "another-tenant").find({"a": 1}) is None


def test_a_damaged_document_is_ignored(storage: JobStore, searches: StoredSearches) -> None:
    compare(searches, Marked(planted=False))
    for key in storage.bucket.keys(f"{layout.SEARCHES}trigger-tests/"):
        storage.bucket.put(key, b"{]", media_type="application/json")
    assert decode(b"{]") == {}
    baseline = Counted(planted=False)
    assert replace(compare(searches, baseline)).findings
    assert baseline.count > 10
