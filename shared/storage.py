"""Where everything lies in the bucket: S3 is the truth, and this is its map.

open/{id}                           before the request: the job has not ended
keys/{digest}                       the job that an idempotency key stands for
jobs/{id}/request.json              before the job is enqueued
jobs/{id}/attempts/{fence}/{name}   artefacts, by attempt
jobs/{id}/checkpoints/{share}/{fence}   how far an attempt at a share had come
jobs/{id}/parts/{share}/{fence}.json    what a share came to, where a job has several
jobs/{id}/manifests/{fence}.json    last: while there is none, the job has not ended; the highest fence counts
expired/{id}                        a job whose result was kept for as long as results are
images/{tenant}/{sha256}            a picture as it was uploaded; with .json, its size and format
archives/{tenant}/{sha256}          a ZIP archive of pictures; with .json, how many are in it
models/{name}/{release}.json        what a worker saw when it loaded the release
weights/{sha256}                    weights as they were uploaded
audits/{tenant}/{digest}            the audit of these releases under this plan
members/{tenant}/{digest}           the job that makes what an audit asks for
releases/{name}/{release}.json      a release that was registered, and what became of it
schedules/{tenant}/{id}.json        what is audited by itself, and when
outcomes/{schedule}/{release}.json  what came of it
writebacks/{schedule}/{audit}.json  a verdict that is to be written down elsewhere
outbox/{tenant}/{id}.json           a webhook that was not delivered yet
deliveries/{tenant}/{id}.json       what became of one
access/…                            keys by digest, and the secrets that webhooks are signed with
setup/probe                         what a new store is tried with
"""

import hashlib
from collections.abc import Iterator
from typing import IO

from pydantic import Field

from shared.bucket import Bucket, Missing
from shared.errors import UnknownImage
from shared.jobs import Document, Manifest, Order, Part
from shared.pictures import is_named_like_picture
from shared.registration import Registration
from shared.uploads import Uploads

JSON = "application/json"

PLACES = (
    "open", "keys", "jobs", "expired", "images", "archives", "models", "weights", "audits", "members", "releases",
    "schedules", "outcomes", "writebacks", "outbox", "deliveries", "access", "setup",
)  # fmt: skip
"""All that the service may touch, but for what operators allow to be read beside."""


class Layer(Document):
    """A named part of a network."""

    name: str
    kind: str = Field(examples=["Conv2d"])
    shape: list[int] | None = Field(default=None, description="Of its output for one picture, without the batch.")
    channels: int | None = Field(default=None, description="Of its output; null where it gives no row per picture.")
    filters: int | None = Field(default=None, description="Of a convolution: how many it has.")


class Description(Document):
    """What a worker saw when it loaded a release."""

    sha256: str = Field(description="Digest of the weights.")
    parameters: int
    layers: list[Layer]


class Storage:
    """Requests, artefacts, manifests, releases and descriptions, in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def of(self, tenant: str) -> Uploads:
        """What a tenant uploaded."""
        return Uploads(self.bucket, tenant)

    def save_order(self, job_id: str, order: Order) -> None:
        """Stores what was accepted; the job is open from here on."""
        self.bucket.put(f"open/{job_id}", b"", media_type=JSON)
        self.bucket.put_document(f"jobs/{job_id}/request.json", order)

    def load_order(self, job_id: str) -> bytes:
        """The order as it was stored, not yet checked. Raises `Missing`."""
        return self.bucket.get(f"jobs/{job_id}/request.json")

    def list_open(self) -> Iterator[str]:
        """Every job that has not ended, and some that have just."""
        return (key.removeprefix("open/") for key in self.bucket.keys("open/"))

    def close(self, job_id: str) -> None:
        """The job has ended."""
        self.bucket.delete(f"open/{job_id}")

    def bind_key(self, tenant: str, key: str, value: str) -> None:
        """Remembers what a tenant's idempotency key stands for, also when Redis forgets."""
        self.bucket.put(_place_key(tenant, key), value.encode(), media_type="text/plain")

    def find_key(self, tenant: str, key: str) -> str | None:
        """What a tenant's idempotency key stands for."""
        try:
            return self.bucket.get(_place_key(tenant, key)).decode()
        except Missing:
            return None

    def bind_audit(self, tenant: str, name: str, audit_id: str) -> None:
        """Remembers which audit was made of certain releases under a certain plan."""
        self.bucket.put(f"audits/{tenant}/{name}", audit_id.encode(), media_type="text/plain")

    def find_audit(self, tenant: str, name: str) -> str | None:
        """Which audit was made of certain releases under a certain plan."""
        try:
            return self.bucket.get(f"audits/{tenant}/{name}").decode()
        except Missing:
            return None

    def bind_member(self, tenant: str, name: str, job_id: str) -> None:
        """Remembers which job makes what an audit asks for."""
        self.bucket.put(f"members/{tenant}/{name}", job_id.encode(), media_type="text/plain")

    def find_member(self, tenant: str, name: str) -> str | None:
        """Which job makes, or has made, what an audit asks for."""
        try:
            return self.bucket.get(f"members/{tenant}/{name}").decode()
        except Missing:
            return None

    def save_artifact(self, job_id: str, fence: int, name: str, data: bytes, *, media_type: str) -> str:
        """Stores an artefact under its attempt's own prefix; returns where it lies."""
        key = f"jobs/{job_id}/attempts/{fence}/{name}"
        self.bucket.put(key, data, media_type=media_type)
        return key

    def save_checkpoint(self, job_id: str, share: int, fence: int, data: bytes) -> None:
        self.bucket.put(f"jobs/{job_id}/checkpoints/{share}/{fence}", data, media_type="application/octet-stream")

    def load_checkpoint(self, job_id: str, share: int) -> bytes | None:
        """How far the last attempt at a share had come that put anything away."""
        latest = self._latest(f"jobs/{job_id}/checkpoints/{share}/")
        return None if latest is None else self.bucket.get(latest)

    def delete_checkpoints(self, job_id: str, share: int) -> None:
        for key in list(self.bucket.keys(f"jobs/{job_id}/checkpoints/{share}/")):
            self.bucket.delete(key)

    def save_part(self, job_id: str, share: int, fence: int, part: Part) -> None:
        self.bucket.put_document(f"jobs/{job_id}/parts/{share}/{fence}.json", part)

    def load_part(self, job_id: str, share: int) -> Part | None:
        """What a share came to: the highest fence counts."""
        latest = self._latest(f"jobs/{job_id}/parts/{share}/")
        return None if latest is None else self.bucket.get_document(latest, Part)

    def save_manifest(self, manifest: Manifest) -> None:
        self.bucket.put_document(f"jobs/{manifest.job.id}/manifests/{manifest.fence}.json", manifest)

    def load_manifest(self, job_id: str, fence: int = 0) -> Manifest | None:
        """The manifest that counts, or None while the job has not ended.

        Args:
            fence: Of the manifest that counts, where it is known.
        """
        known = f"jobs/{job_id}/manifests/{fence}.json" if fence else self._latest(f"jobs/{job_id}/manifests/")
        return None if known is None else self.bucket.get_document(known, Manifest)

    def _latest(self, prefix: str) -> str | None:
        """The key with the highest fence."""
        return max(self.bucket.keys(prefix), key=_fence_of, default=None)

    def highest_fence(self, job_id: str) -> int:
        """Of all that was ever written of a job."""
        places = [key.split("/")[2:] for key in self.bucket.keys(f"jobs/{job_id}/")]
        fences = [place[1] if place[0] == "attempts" else place[-1].removesuffix(".json") for place in places]
        return max((int(fence) for fence in fences if fence.isdecimal()), default=0)

    def delete_job(self, job_id: str) -> None:
        """Removes all of a job: the manifest last, so that what was interrupted can be asked for again."""
        keys = list(self.bucket.keys(f"jobs/{job_id}/"))
        for key in sorted(keys, key=lambda key: "/manifests/" in key):
            self.bucket.delete(key)

    def expire_job(self, job_id: str) -> None:
        """Removes all of a job but the knowledge that it was there."""
        self.bucket.put(f"expired/{job_id}", b"", media_type=JSON)
        self.delete_job(job_id)

    def has_expired(self, job_id: str) -> bool:
        return self.has(f"expired/{job_id}")

    def list_pictures(self, prefix: str) -> Iterator[str]:
        """The keys of a place in the store that are named like pictures."""
        return (key for key in self.bucket.keys(prefix) if is_named_like_picture(key))

    def load_picture(self, key: str) -> bytes:
        """A picture of a place in the store. Raises `UnknownImage`."""
        try:
            return self.bucket.get(key)
        except Missing as error:
            raise UnknownImage(f"there is no picture {key} in the store any more") from error

    def save_weights(self, file: IO[bytes], digest: str) -> None:
        """Stores weights under their digest."""
        self.bucket.put_file(f"weights/{digest}", file, media_type="application/octet-stream")

    def has(self, key: str) -> bool:
        """Whether there is an object under exactly this key."""
        return key in self.bucket.keys(key)

    def save_registration(self, registration: Registration) -> None:
        entry = registration.entry
        self.bucket.put_document(f"releases/{entry.name}/{entry.release}.json", registration)

    def load_registration(self, name: str, release: str) -> Registration | None:
        return self.bucket.get_document(f"releases/{name}/{release}.json", Registration)

    def list_registrations(self) -> Iterator[tuple[str, str]]:
        """Name and release of everything that was ever registered."""
        for key in self.bucket.keys("releases/"):
            _, name, file = key.split("/", 2)
            yield name, file.removesuffix(".json")

    def save_description(self, name: str, release: str, description: Description) -> None:
        self.bucket.put_document(f"models/{name}/{release}.json", description)

    def load_description(self, name: str, release: str) -> Description | None:
        """What the first worker that loaded the release saw, or None if none has."""
        return self.bucket.get_document(f"models/{name}/{release}.json", Description)


def _place_key(tenant: str, idempotency_key: str) -> str:
    return f"keys/{hashlib.sha256(f'{tenant} {idempotency_key}'.encode()).hexdigest()}"


def _fence_of(key: str) -> int:
    fence = key.rpartition("/")[2].removesuffix(".json")
    return int(fence) if fence.isdecimal() else -1
