"""The network of a lane: it starts with any execution plan, which the worker measures once no job waits for it."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from archetype.contract.job import State
from tests.support.lane_workplace import LaneWorkplace
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.execution_plan import ExecutionPlan
from worker.execution.lane_runner import run_next_lane
from worker.models.plan_cache import PlanCache

MEASURED = ExecutionPlan("float32", 4, 1.5)


@pytest.fixture
def run(lanes: LaneWorkplace) -> Callable[[], str]:
    """Submits a job and runs its lane; returns its id."""
    context = replace(lanes.worker_context(), plans=PlanCache(None))
    release = lanes.catalogue.find("grey")
    described = lanes.storage.load_description(release)
    if described is not None:  # the tests share a bucket
        lanes.storage.save_description(release, described.model_copy(update={"plans": {}}))

    def submit_and_run() -> str:
        job_id = lanes.submit([0])
        run_next_lane(context)
        assert lanes.result(job_id).state is State.SUCCEEDED
        return job_id

    return submit_and_run


def replace_measurement(monkeypatch: pytest.MonkeyPatch, measure: Callable[[Classifier], ExecutionPlan]) -> None:
    monkeypatch.setattr("worker.execution.lane.measure_plan", measure)


@pytest.fixture
def due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every plan worth measuring after any use."""
    monkeypatch.setattr("worker.models.plan_cache.FIRST_SECONDS", 0.0)


def find_batch(lanes: LaneWorkplace, job_id: str) -> int:
    provenance = lanes.result(job_id).provenance
    assert provenance is not None
    return int(provenance["plan"]["batch"])


def test_a_job_does_not_wait_for_a_measurement(
    lanes: LaneWorkplace, run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_measurement(monkeypatch, lambda _: pytest.fail("the plan was measured"))
    assert [find_batch(lanes, run()), find_batch(lanes, run())] == [8, 8]


@pytest.mark.usefixtures("due_at_once")
def test_the_plan_of_a_network_in_use_is_measured_after_the_jobs_and_stored_with_the_release(
    lanes: LaneWorkplace, run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []

    def measure(_classifier: Classifier) -> ExecutionPlan:
        ended.append(len(lanes.claims.leases()))
        return MEASURED

    replace_measurement(monkeypatch, measure)
    assert [find_batch(lanes, run()), find_batch(lanes, run())] == [8, 4]
    assert ended == [0]
    described = lanes.storage.load_description(lanes.catalogue.find("grey"))
    assert described is not None
    assert list(described.plans.values()) == [asdict(MEASURED)]
    on_another_machine = replace(lanes.worker_context(), plans=PlanCache(None))
    other = lanes.submit([0])
    run_next_lane(on_another_machine)
    assert find_batch(lanes, other) == 4


@pytest.mark.usefixtures("due_at_once")
def test_a_worker_that_must_stop_ends_its_measurement(
    lanes: LaneWorkplace, run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_and_measure(classifier: Classifier) -> ExecutionPlan:
        lanes.stopping.set()
        classifier.before_pass()
        return pytest.fail("the measurement went on")

    replace_measurement(monkeypatch, stop_and_measure)
    run()
    assert lanes.stopping.is_set()


@pytest.mark.usefixtures("due_at_once")
def test_a_measurement_that_takes_too_long_is_given_up(
    lanes: LaneWorkplace, run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(classifier: Classifier) -> ExecutionPlan:
        classifier.before_pass()
        return pytest.fail("the measurement went on")

    replace_measurement(monkeypatch, measure)
    monkeypatch.setattr("worker.execution.lane.MEASURE_SECONDS", -1.0)
    assert [find_batch(lanes, run()), find_batch(lanes, run())] == [8, 8]


@pytest.mark.usefixtures("due_at_once")
def test_a_network_whose_plan_cannot_be_measured_keeps_its_first_plan(
    lanes: LaneWorkplace, run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Classifier] = []

    def fail(classifier: Classifier) -> ExecutionPlan:
        measured.append(classifier)
        raise RuntimeError("out of memory")

    replace_measurement(monkeypatch, fail)
    assert [find_batch(lanes, run()), find_batch(lanes, run())] == [8, 8]
    assert len(measured) == 1
