"""Registered releases wait in a queue of limited length for each tenant, in a real Redis."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery

from archetype.contract.job import now
from shared.catalogue.registrations import RegistrationCache
from shared.catalogue.release import Release
from shared.errors import RefusedRelease
from shared.lifecycle.release_checks import REFUSED_SECONDS, delete_refused, resume_checks
from shared.queue.celery_app import count_messages, create_broker
from shared.queue.kombu_transport import RELEASES
from shared.queue.release_queue import MAX_REFUSED, ReleaseQueue, send_next_check
from shared.settings import Settings
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage import layout
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore


@pytest.fixture
def release_queue(redis_client: RedisClient) -> ReleaseQueue:
    return ReleaseQueue(redis_client)


@pytest.fixture
def broker(settings: Settings) -> Celery:
    return create_broker(settings)


@pytest.fixture
def releases(storage: JobStore) -> Iterator[JobStore]:
    """A store without registrations."""
    for key in list(storage.bucket.keys(layout.RELEASES)):
        storage.bucket.delete(key)
    yield storage
    for key in list(storage.bucket.keys(layout.RELEASES)):
        storage.bucket.delete(key)


def entry(name: str, tenant: str | None = "mallory") -> Release:
    return Release(name=name, architecture="torchvision:resnet18", classes=["a"], tenant=tenant, namespace=tenant)


def save(storage: JobStore, name: str, state: RegistrationState, *, tenant: str = "mallory", age: float = 0) -> None:
    error = RefusedRelease("it does not work").document if state is RegistrationState.REFUSED else None
    moment = now() - timedelta(seconds=age)
    storage.save_registration(Registration(entry=entry(name, tenant), state=state, registered_at=moment, error=error))


def test_a_full_queue_of_one_tenant_leaves_room_for_others(release_queue: ReleaseQueue) -> None:
    assert [release_queue.add(entry(f"net-{number}"), limit=3) for number in range(5)] == [True] * 3 + [False] * 2
    assert release_queue.add(entry("net-0"), limit=3)  # it waits already
    assert release_queue.add(entry("net-0", "alice"), limit=3)
    assert release_queue.add(entry("net-0", None), limit=3)
    release_queue.remove("mallory", "net-0@1")
    assert release_queue.find_first("mallory") == "net-1@1"
    assert release_queue.add(entry("net-9"), limit=3)


def test_one_message_for_each_tenant_is_on_its_way_however_many_releases_wait(
    release_queue: ReleaseQueue, broker: Celery
) -> None:
    for number in range(300):
        release_queue.add(entry(f"net-{number}"))
        send_next_check("mallory", release_queue, broker)
    assert count_messages(broker, [RELEASES]) == 1
    release_queue.add(entry("net", "alice"))
    send_next_check("alice", release_queue, broker)
    assert count_messages(broker, [RELEASES]) == 2
    release_queue.receive_message("mallory")
    send_next_check("mallory", release_queue, broker)
    assert count_messages(broker, [RELEASES]) == 3
    release_queue.receive_message("bob")
    send_next_check("bob", release_queue, broker)  # none of his waits
    assert count_messages(broker, [RELEASES]) == 3


def test_releases_that_redis_lost_are_queued_again(
    release_queue: ReleaseQueue, broker: Celery, releases: JobStore
) -> None:
    for name, tenant in (("one", "mallory"), ("two", "mallory"), ("one", "alice")):
        save(releases, name, RegistrationState.TRYING, tenant=tenant)
    save(releases, "accepted", RegistrationState.ACCEPTED)
    registrations = RegistrationCache(releases).read()
    for _ in range(3):
        resume_checks(registrations, release_queue, broker)
    assert count_messages(broker, [RELEASES]) == 2
    assert release_queue.find_first("alice") == "one@1"
    for reference in ("one@1", "two@1"):
        assert release_queue.find_first("mallory") == reference
        release_queue.remove("mallory", reference)
    assert release_queue.find_first("mallory") is None


def test_refused_releases_expire_by_age_and_number_and_others_stay(releases: JobStore, locks: Locks) -> None:
    for number in range(MAX_REFUSED + 5):
        save(releases, f"bad-{number:02}", RegistrationState.REFUSED, age=number)
    save(releases, "old", RegistrationState.REFUSED, tenant="alice", age=REFUSED_SECONDS + 60)
    save(releases, "new", RegistrationState.REFUSED, tenant="alice")
    save(releases, "waits", RegistrationState.TRYING, tenant="alice", age=2 * REFUSED_SECONDS)
    save(releases, "good", RegistrationState.ACCEPTED, tenant="alice", age=2 * REFUSED_SECONDS)
    delete_refused(RegistrationCache(releases).read(), releases, locks, now())
    left = {(each.tenant, each.name) for each in releases.list_registrations()}
    assert {name for tenant, name in left if tenant == "alice"} == {"new", "waits", "good"}
    assert {name for tenant, name in left if tenant == "mallory"} == {f"bad-{n:02}" for n in range(MAX_REFUSED)}


def test_a_refused_release_that_was_registered_again_is_not_deleted(releases: JobStore, locks: Locks) -> None:
    save(releases, "net", RegistrationState.REFUSED, age=REFUSED_SECONDS + 60)
    registrations = RegistrationCache(releases).read()
    save(releases, "net", RegistrationState.TRYING)
    delete_refused(registrations, releases, locks, now())
    assert releases.load_registration("net", "1", "mallory") is not None


def test_the_oldest_refused_releases_are_named_when_a_tenant_has_too_many(release_queue: ReleaseQueue) -> None:
    surplus = [release_queue.add_refused(entry(f"{number}")) for number in range(MAX_REFUSED + 2)]
    assert surplus == [[]] * MAX_REFUSED + [["0@1"], ["1@1"]]
    assert release_queue.add_refused(entry("0", "alice")) == []
