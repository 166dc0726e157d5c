"""What is stored of jobs and models in the bucket, under the keys of `shared/storage/layout.py`."""

from collections.abc import Iterator
from itertools import takewhile
from secrets import token_hex
from typing import IO, NamedTuple

from archetype.contract.model import Description
from archetype.contract.upload import has_image_name
from shared.catalogue.release import Release
from shared.errors import Unavailable, UnknownImage
from shared.storage import layout
from shared.storage.documents import JobSpec, Manifest, Registration, ShardResult
from shared.storage.s3 import JSON, Bucket, Missing, Stored
from shared.storage.uploads import Uploads

BINARY = "application/octet-stream"
TEXT = "text/plain"

RECORD_DEPTH = 2
"""Slashes in the key of the record of an audit or of a member: `audits/{tenant}/{digest}`."""


class ListedRegistration(NamedTuple):
    """A registered release in a listing, without its content."""

    tenant: str | None
    name: str
    release: str
    stored: Stored


class JobStore:
    """Requests, artifacts, manifests, registered releases and descriptions in a bucket.

    Every call raises `Unavailable` if the store does not answer.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def of(self, tenant: str) -> Uploads:
        """The images and archives that a tenant uploaded."""
        return Uploads(self.bucket, tenant)

    def save_spec(self, job_id: str, spec: JobSpec) -> None:
        """Stores an accepted request and marks the job as open."""
        self.bucket.put(layout.open_marker(job_id), b"", media_type=JSON)
        self.bucket.put_document(layout.job_request(job_id), spec)

    def list_jobs(self, after: str = "") -> Iterator[str]:
        """Ids of all jobs of which anything is stored, the oldest first; with an id, only those that follow it."""
        return self.bucket.folders(layout.JOBS, after)

    def load_spec(self, job_id: str) -> bytes:
        """The stored request, not validated. Raises `Missing`."""
        return self.bucket.get(layout.job_request(job_id))

    def list_open(self) -> Iterator[str]:
        """Ids of all jobs that have not finished, and of some that have just finished."""
        return (key.removeprefix(layout.OPEN_JOBS) for key in self.bucket.keys(layout.OPEN_JOBS))

    def is_open(self, job_id: str) -> bool:
        """Whether a job has not finished, or has just finished."""
        return self.has(layout.open_marker(job_id))

    def close(self, job_id: str) -> None:
        """Removes the mark that a job is open."""
        self.bucket.delete(layout.open_marker(job_id))

    def save_idempotency_key(self, tenant: str, idempotency_key: str, value: str) -> None:
        """Stores what a tenant's idempotency key refers to, so that it survives a loss of Redis."""
        self.bucket.put(layout.idempotency_record(tenant, idempotency_key), value.encode(), media_type=TEXT)

    def find_idempotency_key(self, tenant: str, idempotency_key: str) -> str | None:
        """What a tenant's idempotency key refers to."""
        return self._find_text(layout.idempotency_record(tenant, idempotency_key))

    def save_audit_id(self, tenant: str, digest: str, audit_id: str) -> None:
        """Stores the id of the audit with this digest of its releases and plan."""
        self.bucket.put(layout.audit_record(tenant, digest), audit_id.encode(), media_type=TEXT)

    def find_audit_id(self, tenant: str, digest: str) -> str | None:
        """The id of the audit with this digest of its releases and plan."""
        return self._find_text(layout.audit_record(tenant, digest))

    def save_member_id(self, tenant: str, digest: str, job_id: str) -> None:
        """Stores the id of the job with this digest of its request, which belongs to an audit."""
        self.bucket.put(layout.audit_member_record(tenant, digest), job_id.encode(), media_type=TEXT)

    def find_member_id(self, tenant: str, digest: str) -> str | None:
        """The id of the job with this digest of its request, which belongs to an audit."""
        return self._find_text(layout.audit_member_record(tenant, digest))

    def list_audit_ids(self) -> Iterator[str]:
        """Ids of the audits of all tenants that have a record."""
        return self._list_ids(layout.AUDITS)

    def list_member_ids(self) -> Iterator[str]:
        """Ids of the jobs of all tenants that have a record as a member of an audit."""
        return self._list_ids(layout.MEMBERS)

    def _list_ids(self, prefix: str) -> Iterator[str]:
        for key in list(self.bucket.keys(prefix)):
            is_record = key.count("/") == RECORD_DEPTH  # further levels contain other documents of an audit
            if is_record and (job_id := self._find_text(key)) is not None:
                yield job_id

    def _find_text(self, key: str) -> str | None:
        try:
            return self.bucket.get(key).decode()
        except Missing:
            return None

    def save_artifact(self, job_id: str, fence: int, name: str, data: bytes, *, media_type: str) -> str:
        """Stores an artifact under the prefix of its attempt and returns its key."""
        key = layout.artifact(job_id, fence, name)
        self.bucket.put(key, data, media_type=media_type)
        return key

    def save_checkpoint(self, job_id: str, shard: int, fence: int, data: bytes) -> None:
        """Stores a checkpoint of a shard; it replaces the earlier one of the same attempt."""
        self.bucket.put(f"{layout.checkpoints(job_id, shard)}{fence}", data, media_type=BINARY)

    def load_checkpoint(self, job_id: str, shard: int) -> bytes | None:
        """The checkpoint of the latest attempt at a shard that saved one."""
        latest = self._find_latest(layout.checkpoints(job_id, shard))
        return None if latest is None else self.bucket.get(latest)

    def delete_checkpoints(self, job_id: str, shard: int) -> None:
        """Removes all checkpoints of a shard."""
        self.bucket.delete_all(list(self.bucket.keys(layout.checkpoints(job_id, shard))))

    def save_shard_result(self, job_id: str, shard: int, fence: int, result: ShardResult) -> None:
        """Stores the result of one shard of a job that has several."""
        self.bucket.put_document(f"{layout.shard_results(job_id, shard)}{fence}.json", result)

    def load_shard_result(self, job_id: str, shard: int) -> ShardResult | None:
        """The result of a shard with the highest fence, or None if the shard has not finished."""
        latest = self._find_latest(layout.shard_results(job_id, shard))
        return None if latest is None else self.bucket.get_document(latest, ShardResult)

    def find_shard_results(self, job_id: str) -> dict[int, str]:
        """The key of the result with the highest fence of every shard that has finished."""
        prefix = layout.all_shard_results(job_id)
        keys: dict[int, str] = {}
        for key in sorted(self.bucket.keys(prefix), key=_read_fence):
            keys[int(key.removeprefix(prefix).partition("/")[0])] = key
        return keys

    def save_manifest(self, manifest: Manifest) -> None:
        """Stores a manifest: from now on, the job has finished."""
        self.bucket.put_document(f"{layout.manifests(manifest.job.id)}{manifest.fence}.json", manifest)

    def accepts_jobs(self) -> bool:
        """Whether the store accepts the objects of jobs in general, so that a refusal concerns one job alone."""
        probe = layout.job_probe(token_hex(8))
        try:
            self.bucket.put(probe, b"", media_type=TEXT)
            self.bucket.get(probe)
            self.bucket.delete(probe)
        except Unavailable:
            return False
        return True

    def load_manifest(self, job_id: str, fence: int = 0) -> Manifest | None:
        """The manifest with the highest fence, or None while the job has not finished.

        Args:
            job_id: The job.
            fence: Fence of that manifest, if it is known; saves listing the manifests.
        """
        folder = layout.manifests(job_id)
        key = f"{folder}{fence}.json" if fence else self._find_latest(folder)
        return None if key is None else self.bucket.get_document(key, Manifest)

    def find_manifest_fence(self, job_id: str) -> int:
        """The fence of the manifest that counts; 0 if the job has none."""
        latest = self._find_latest(layout.manifests(job_id))
        return 0 if latest is None else _read_fence(latest)

    def _find_latest(self, prefix: str) -> str | None:
        """The key with the highest fence."""
        return max(self.bucket.keys(prefix), key=_read_fence, default=None)

    def highest_fence(self, job_id: str) -> int:
        """The highest fence in all keys of a job; 0 if there is none."""
        paths = [key.split("/")[2:] for key in self.bucket.keys(layout.job_folder(job_id))]
        fences = [path[1] if path[0] == "attempts" else path[-1].removesuffix(".json") for path in paths]
        return max((int(fence) for fence in fences if fence.isdecimal()), default=0)

    def delete_job(self, job_id: str) -> None:
        """Removes everything of a job. The manifests go last, so that an interrupted deletion can be repeated."""
        keys = list(self.bucket.keys(layout.job_folder(job_id)))
        manifests = [key for key in keys if key.startswith(layout.manifests(job_id))]
        self.bucket.delete_all([key for key in keys if key not in manifests])
        self.bucket.delete_all(manifests)

    def expire_job(self, job_id: str, tenant: str = "") -> None:
        """Removes everything of a job and leaves a mark that the tenant has had it."""
        self.bucket.put(layout.expired_marker(job_id), tenant.encode(), media_type=TEXT)
        self.delete_job(job_id)

    def has_expired(self, job_id: str, tenant: str) -> bool:
        """Whether the result of a tenant's job was deleted by retention. Before version 0.3, marks had no tenant."""
        return self._find_text(layout.expired_marker(job_id)) in (tenant, "")

    def list_images(self, prefix: str, *, after: str = "", until: str | None = None) -> Iterator[str]:
        """Keys under a prefix of the store that have the suffix of an image, in lexicographic order.

        Args:
            prefix: The prefix.
            after: Only keys that follow this one.
            until: Only keys up to this one; None for all.
        """
        keys = self.bucket.keys(prefix, after)
        return (key for key in takewhile(lambda key: until is None or key <= until, keys) if has_image_name(key))

    def load_image(self, key: str) -> bytes:
        """An image under a prefix of the store. Raises `UnknownImage`."""
        try:
            return self.bucket.get(key)
        except Missing as error:
            raise UnknownImage(f"the image {key} is no longer in the store") from error

    def save_weights(self, file: IO[bytes], digest: str, tenant: str | None = None) -> None:
        """Stores weights under their SHA-256 digest, as those of a tenant; without a tenant, as the operator's."""
        self.bucket.put_file(layout.uploaded_weights(digest, tenant), file, media_type=BINARY)

    def has(self, key: str) -> bool:
        """Whether there is an object under exactly this key."""
        return next(self.bucket.keys(key), None) == key  # the shortest key with this prefix is the first

    def save_registration(self, registration: Registration) -> None:
        """Stores a registered release with the result of its check."""
        entry = registration.entry
        self.bucket.put_document(layout.registration(entry.name, entry.release, entry.namespace), registration)

    def load_registration(self, name: str, release: str, tenant: str | None = None) -> Registration | None:
        """A registered release with the result of its check; a tenant's own release if a tenant is given."""
        registration = self.bucket.get_document(layout.registration(name, release, tenant), Registration)
        if registration is None:
            return None
        entry = registration.entry.model_copy(update={"namespace": tenant})
        return registration.model_copy(update={"entry": entry})

    def list_registrations(self) -> Iterator[ListedRegistration]:
        """All registered releases, whatever the result of their checks."""
        for stored in self.bucket.list(layout.RELEASES):
            yield ListedRegistration(*layout.read_registration_key(stored.key), stored)

    def delete_registration(self, entry: Release) -> None:
        """Removes a registered release."""
        self.bucket.delete(layout.registration(entry.name, entry.release, entry.namespace))

    def save_description(self, release: Release, description: Description) -> None:
        """Stores what a worker found when it loaded a release."""
        self.bucket.put_document(_description_key(release), description)

    def load_description(self, release: Release) -> Description | None:
        """What the first worker that loaded the release found, or None if no worker has loaded it."""
        return self.bucket.get_document(_description_key(release), Description)


def _description_key(release: Release) -> str:
    return layout.model_description(release.name, release.release, release.namespace)


def _read_fence(key: str) -> int:
    fence = key.rpartition("/")[2].removesuffix(".json")
    return int(fence) if fence.isdecimal() else -1
