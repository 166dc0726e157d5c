"""Registrations are read from the store once, however often they are asked for and whatever their state."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.catalogue.catalogue import Catalogue
from shared.catalogue.registered import RegisteredReleases
from shared.catalogue.registrations import RegistrationCache
from shared.catalogue.release import Release
from shared.errors import ObjectRefused
from shared.storage import layout
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore
from shared.storage.s3 import Missing, Stored

START = datetime(2026, 1, 1, tzinfo=UTC)


class CountingBucket:
    """Objects in memory; counts how often one is read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads = 0
        self.refused: set[str] = set()

    def put_document(self, key: str, document: Registration) -> None:
        self.objects[key] = document.model_dump_json().encode()

    def get_document(self, key: str, kind: type[Registration]) -> Registration | None:
        self.reads += 1
        if key in self.refused:
            raise ObjectRefused("AccessDenied")
        return kind.model_validate_json(self.objects[key]) if key in self.objects else None

    def get(self, key: str) -> bytes:
        raise Missing(key)

    def list(self, prefix: str):
        return (
            Stored(key, len(data), START, str(hash(data)))
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )


@pytest.fixture
def bucket() -> CountingBucket:
    return CountingBucket()


def register(bucket: CountingBucket, name: str, tenant: str | None, state: RegistrationState, hours: int = 0) -> None:
    entry = Release(name=name, architecture="torchvision:resnet18", classes=["a"], tenant=tenant, namespace=tenant)
    registration = Registration(entry=entry, state=state, registered_at=START + timedelta(hours=hours))
    JobStore(bucket).save_registration(registration)  # type: ignore[arg-type]


def test_three_hundred_refused_registrations_are_read_once(bucket: CountingBucket) -> None:
    for number in range(300):
        register(bucket, f"bad-{number}", "mallory", RegistrationState.REFUSED)
    register(bucket, "good", "alice", RegistrationState.ACCEPTED)
    clock = [0.0]
    registered = RegisteredReleases(JobStore(bucket), clock=lambda: clock[0])  # type: ignore[arg-type]
    for _ in range(50):
        clock[0] += 10
        assert [release.name for release in registered(fresh=True)] == ["good"]
    assert bucket.reads == 301


def test_a_registration_that_changed_is_read_again(bucket: CountingBucket) -> None:
    cache = RegistrationCache(JobStore(bucket))  # type: ignore[arg-type]
    for state in (RegistrationState.TRYING, RegistrationState.REFUSED, RegistrationState.ACCEPTED):
        register(bucket, "net", "alice", state)
        assert [registration.state for registration in cache.read()] == [state]
    bucket.objects.clear()
    assert cache.read() == []


def test_tenants_have_names_of_their_own(bucket: CountingBucket) -> None:
    for tenant in ("alice", "mallory", None):
        register(bucket, "net", tenant, RegistrationState.ACCEPTED)
    catalogue = Catalogue([], RegisteredReleases(JobStore(bucket)))  # type: ignore[arg-type]
    found = {tenant: catalogue.of(tenant).find("net") for tenant in ("alice", "mallory", "bob")}
    assert {tenant: release.tenant for tenant, release in found.items()} == {
        "alice": "alice",
        "mallory": "mallory",
        "bob": None,
    }
    assert {release.identity for release in found.values()} == {"alice/net@1", "mallory/net@1", "net@1"}
    assert len(list(catalogue)) == 3


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_release_of_a_tenant_stays_the_same_if_the_operator_uses_its_name(bucket: CountingBucket, hours: int) -> None:
    register(bucket, "net", "alice", RegistrationState.ACCEPTED)
    register(bucket, "net", None, RegistrationState.ACCEPTED, hours)
    catalogue = Catalogue([], RegisteredReleases(JobStore(bucket)))  # type: ignore[arg-type]
    assert catalogue.of("alice").find("net@1").tenant == "alice"


def test_a_release_of_an_earlier_version_keeps_its_place_in_the_store(bucket: CountingBucket) -> None:
    entry = Release(name="old", architecture="torchvision:resnet18", classes=["a"], tenant="alice")
    JobStore(bucket).save_registration(Registration(entry=entry, state=RegistrationState.ACCEPTED))  # type: ignore[arg-type]
    assert list(bucket.objects) == [layout.registration("old", "1")]
    catalogue = Catalogue([], RegisteredReleases(JobStore(bucket)))  # type: ignore[arg-type]
    assert catalogue.of("alice").find("old").identity == "old@1"
    assert catalogue.of("mallory").releases("old") == []


def test_the_stored_registration_is_as_earlier_versions_wrote_it(bucket: CountingBucket) -> None:
    register(bucket, "net", "alice", RegistrationState.ACCEPTED)
    (stored,) = bucket.objects.values()
    assert b"namespace" not in stored
    assert JobStore(bucket).load_registration("net", "1", "alice").entry.namespace == "alice"  # type: ignore[arg-type, union-attr]


def test_a_registration_that_the_store_refuses_hides_no_other_and_is_read_again(bucket: CountingBucket) -> None:
    for name in ("one", "other"):
        register(bucket, name, "alice", RegistrationState.ACCEPTED)
    cache = RegistrationCache(JobStore(bucket))  # type: ignore[arg-type]
    bucket.refused = {next(key for key in bucket.objects if "other" in key)}
    assert [registration.entry.name for registration in cache.read()] == ["one"]
    bucket.refused = set()
    assert {registration.entry.name for registration in cache.read()} == {"one", "other"}


def test_a_store_that_refuses_all_registrations_is_not_taken_for_one_without(bucket: CountingBucket) -> None:
    register(bucket, "one", "alice", RegistrationState.ACCEPTED)
    bucket.refused = set(bucket.objects)
    with pytest.raises(ObjectRefused):
        RegistrationCache(JobStore(bucket)).read()  # type: ignore[arg-type]
