"""Release checks: tenants take turns, and the worker stays alive as long as a check goes on."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shared.catalogue.release import Release
from shared.errors import ObjectRefused, Unavailable
from shared.queue.release_queue import MAX_REFUSED, ReleaseQueue
from shared.state.locks import HeldLock
from shared.storage.documents import Registration, RegistrationState
from tests.support.lane_workplace import CPU, LaneWorkplace
from tests.support.releases import ENTRY
from tests.support.waiting import wait_until
from worker.execution import heartbeat, release_check
from worker.execution.release_check import check_next_release
from worker.execution.worker_context import WorkerContext
from worker.models.download_cache import Report, ignore
from worker.models.loader import LoadedModel, Loader, ModelCache


class Controlled(Loader):
    """Does what a test wants instead of downloading and loading a network; then the network is refused."""

    act: Callable[[Report], None]

    def load(self, release: Release, device: torch.device, report: Report = ignore) -> LoadedModel:  # noqa: ARG002
        type(self).act(report)
        raise ZeroDivisionError("an unexpected error")


def make_context(lanes: LaneWorkplace, act: Callable[[Report], None], **settings: object) -> WorkerContext:
    loader = type("Acting", (Controlled,), {"act": staticmethod(act)})()
    lanes.networks = ModelCache(loader, device=CPU)
    return lanes.worker_context(**settings)


def register(context: WorkerContext, name: str, tenant: str | None = "mallory") -> Release:
    entry = Release.model_validate(ENTRY | {"name": name, "tenant": tenant, "namespace": tenant})
    context.storage.save_registration(Registration(entry=entry))
    ReleaseQueue(context.redis_client).add(entry)
    return entry


def state_of(context: WorkerContext, entry: Release) -> RegistrationState | None:
    registration = context.storage.load_registration(entry.name, entry.release, entry.namespace)
    return None if registration is None else registration.state


def test_a_message_makes_a_worker_check_the_oldest_release_of_one_tenant(lanes: LaneWorkplace) -> None:
    context = make_context(lanes, lambda _report: None)
    hers = [register(context, f"turn-{number}") for number in range(2)]
    other = register(context, "turn-0", "alice")
    assert check_next_release(context, "turn-1@1", "mallory")
    assert [state_of(context, entry) for entry in (*hers, other)] == ["refused", "trying", "trying"]
    assert check_next_release(context, "turn-0@1", "alice")
    assert [state_of(context, entry) for entry in (*hers, other)] == ["refused", "trying", "refused"]


def test_one_worker_at_a_time_checks_releases_of_the_same_tenant(lanes: LaneWorkplace) -> None:
    context = make_context(lanes, lambda _report: None)
    entry, other = register(context, "alone"), register(context, "alone", "alice")
    with context.locks.try_lock("trial:mallory", 60) as acquired:
        assert acquired
        check_next_release(context, "alone@1", "mallory")
        check_next_release(context, "alone@1", "alice")
    assert (state_of(context, entry), state_of(context, other)) == ("trying", "refused")


def test_a_release_is_checked_although_redis_has_lost_its_queue(lanes: LaneWorkplace) -> None:
    context = make_context(lanes, lambda _report: None)
    entry = register(context, "lost")
    lanes.redis.flushdb()
    check_next_release(context, "lost@1", "mallory")
    assert state_of(context, entry) is RegistrationState.REFUSED


@pytest.mark.parametrize(
    ("problem", "state"),
    [(ObjectRefused("AccessDenied"), RegistrationState.REFUSED), (Unavailable("away"), RegistrationState.TRYING)],
    ids=["refused", "away"],
)
def test_a_release_whose_objects_the_store_refuses_is_refused_and_one_that_waits_for_the_store_is_tried_again(
    lanes: LaneWorkplace, problem: Unavailable, state: RegistrationState
) -> None:
    def act(_report: Report) -> None:
        raise problem

    context = make_context(lanes, act)
    entry = register(context, "forbidden")
    assert check_next_release(context, "forbidden@1", "mallory") is (state is RegistrationState.REFUSED)
    assert state_of(context, entry) is state
    registration = context.storage.load_registration("forbidden", "1", "mallory")
    assert registration is not None
    assert (registration.error is not None) is (state is RegistrationState.REFUSED)


def test_only_the_newest_refused_releases_of_a_tenant_stay_in_the_store(lanes: LaneWorkplace) -> None:
    context = make_context(lanes, lambda _report: None)
    entries = [register(context, f"flood-{number}", "flooder") for number in range(MAX_REFUSED + 3)]
    for entry in entries:
        check_next_release(context, entry.reference, "flooder")
    assert [state_of(context, entry) for entry in entries] == [None] * 3 + [RegistrationState.REFUSED] * MAX_REFUSED


def test_the_liveness_file_is_touched_and_the_lock_renewed_while_a_download_goes_on(
    lanes: LaneWorkplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_check, "RENEW_SECONDS", 0)
    path, renewed = tmp_path / "liveness" / "worker", threading.Event()
    touches = []

    def download(report: Report) -> None:
        for done in range(3):
            path.unlink(missing_ok=True)
            report(done, 3)
            touches.append(wait_until(path.exists, 60))
        assert renewed.wait(60)

    context = make_context(lanes, download, liveness_dir=path.parent)
    monkeypatch.setattr(HeldLock, "extend", lambda *_: renewed.set())
    entry = register(context, "slow")
    check_next_release(context, "slow@1", "mallory")
    assert len(touches) == 3
    assert "ZeroDivisionError" in context.storage.load_registration("slow", "1", "mallory").error.detail
    assert state_of(context, entry) is RegistrationState.REFUSED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_check_hangs_ends_and_touches_its_liveness_file_no_more(
    lanes: LaneWorkplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, statuses = threading.Event(), []
    path = tmp_path / "liveness" / "worker"

    def end(status: int) -> None:
        statuses.append(status)
        path.unlink(missing_ok=True)
        ended.set()
        raise SystemExit  # ends the thread, as the process would end

    monkeypatch.setattr(heartbeat, "os", SimpleNamespace(_exit=end))
    context = make_context(lanes, lambda _report: ended.wait(60), step_seconds=0.5, liveness_dir=path.parent)
    register(context, "hangs")
    check_next_release(context, "hangs@1", "mallory")
    assert statuses == [heartbeat.HUNG]
    assert not path.exists()
