"""One bucket of an S3-compatible store; errors of the store become `Unavailable` or `Missing`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from urllib3.exceptions import HTTPError

from shared.errors import UnsupportedFormat
from shared.process.circuit_breaker import CircuitBreaker
from shared.process.guarded_calls import Deadline, GuardedCalls
from shared.settings import Settings
from shared.storage.conditional_write import read_tagged, write_if_unchanged
from shared.storage.deletion import BATCH, delete_batch, delete_one_by_one
from shared.storage.s3_client import BYTES_PER_SECOND, PART_SECONDS, PARTS, PATIENT, UPLOADS, Patience, connect
from shared.storage.s3_errors import MISSING, explain, read_code

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

D = TypeVar("D", bound=BaseModel)
T = TypeVar("T")
JSON = "application/json"
CHUNK = 1 << 18
LARGE = 1 << 20
"""An object of this size may take longer than the attempts of a small call."""
AFTER_SLASH = "0"
"""The character after the slash: keys that follow `name0` follow all keys in the folder `name`."""
PROBE = "setup/ready"
"""The object with which `check` tests reading and writing."""


class Missing(KeyError):
    """There is no object under this key."""


class Stored(NamedTuple):
    """Facts about an object from a listing, without its content."""

    key: str
    bytes: int
    modified: datetime
    etag: str = ""


class Bucket:
    """Objects by key. Every call has a deadline and raises `Unavailable` with the cause if the store fails."""

    def __init__(self, settings: Settings, patience: Patience = PATIENT) -> None:
        self._name, self._endpoint, self._patience = settings.s3_bucket, settings.s3_endpoint, patience
        attempt = min(15, patience.seconds)
        self._settings = settings
        self._client = connect(settings, settings.s3_endpoint, seconds=attempt, attempts=patience.attempts)
        breaker = CircuitBreaker() if patience.remembers else None
        self._deletes_batches = True
        self._calls = GuardedCalls(
            "the object store", running=patience.running, waiting=patience.waiting, breaker=breaker
        )
        self._uploads = GuardedCalls("the object store", running=UPLOADS, waiting=UPLOADS, breaker=breaker)

    @cached_property
    def _uploader(self) -> "S3Client":
        """A client for large files: a part of one may take long on a slow connection."""
        return connect(self._settings, self._endpoint, seconds=PART_SECONDS, attempts=3)

    @cached_property
    def _public(self) -> "S3Client":
        """A client for presigned URLs, whose signature contains the host."""
        public = self._settings.s3_public_endpoint or self._endpoint
        return connect(self._settings, public, seconds=self._patience.seconds, attempts=1)

    def _run(self, key: str, function: Callable[[], T]) -> T:
        return self._run_until(key, function, self._start())

    def _run_until(self, key: str, function: Callable[[], T], deadline: Deadline, *, always: bool = False) -> T:
        return self._calls.run(lambda: _translate(key, function), deadline, always=always)

    def _start(self) -> Deadline:
        return Deadline(self._calls.limit(self._patience.seconds), BYTES_PER_SECOND)

    def create(self) -> None:
        """Creates the bucket if it does not exist."""
        self._run(self._name, self._create)

    def _create(self) -> None:
        try:
            self._list_one()
        except ClientError as error:
            if read_code(error) not in MISSING | {"NoSuchBucket"}:
                raise
            # AWS requires the region of a bucket except for us-east-1; other stores do not accept one.
            region = self._client.meta.region_name
            location = {"CreateBucketConfiguration": {"LocationConstraint": region}}
            options = location if self._requires_location(region) else {}
            self._client.create_bucket(Bucket=self._name, **cast("Any", options))

    def _requires_location(self, region: str) -> bool:
        return self._endpoint is None and region != "us-east-1"

    def ping(self) -> None:
        """Checks that the bucket exists and can be listed; the service needs no other right on the bucket itself."""
        self._run(self._name, self._list_one)

    def check(self, seconds: float) -> None:
        """Tests listing, writing and reading within a time, also if the store failed a moment ago."""
        self._run_until(self._name, self._check, Deadline(seconds, BYTES_PER_SECOND), always=True)

    def _check(self) -> None:
        self._list_one()
        self._client.put_object(Bucket=self._name, Key=PROBE, Body=b"ready")
        self._client.get_object(Bucket=self._name, Key=PROBE)["Body"].read()

    def _list_one(self) -> None:
        self._client.list_objects_v2(Bucket=self._name, Prefix="open/", MaxKeys=1)

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Stores an object."""
        deadline = self._start()
        deadline.extend(len(data))
        client = self._uploader if len(data) > LARGE else self._client
        call = partial(client.put_object, Bucket=self._name, Key=key, Body=data, ContentType=media_type)
        self._run_until(key, call, deadline)

    def put_file(self, key: str, file: IO[bytes], *, media_type: str) -> None:
        """Stores a file of any size; large files are uploaded in parts. Each byte that moves extends the deadline."""
        deadline = Deadline(PART_SECONDS, BYTES_PER_SECOND)
        options = {"ExtraArgs": {"ContentType": media_type}, "Config": PARTS, "Callback": deadline.extend}
        call = partial(self._uploader.upload_fileobj, file, self._name, key, **cast("Any", options))
        self._uploads.run(lambda: _translate(key, call), deadline)

    def get(self, key: str) -> bytes:
        """The whole object. Raises `Missing`."""
        deadline = self._start()
        return self._run_until(key, lambda: self._download(key, deadline), deadline)

    def get_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes of an object from a position up to another one. Raises `Missing`."""
        deadline = self._start()
        return self._run_until(key, lambda: self._download(key, deadline, Range=f"bytes={start}-{stop - 1}"), deadline)

    def _download(self, key: str, deadline: Deadline, **options: str) -> bytes:
        answer, chunks = self._client.get_object(Bucket=self._name, Key=key, **cast("Any", options)), []
        left = answer["ContentLength"]
        with closing(answer["Body"]) as body:
            while True:
                deadline.extend(min(CHUNK, left))
                data = body.read(CHUNK)
                if not data:
                    break
                left -= len(data)
                chunks.append(data)
        return b"".join(chunks)

    def put_document(self, key: str, document: BaseModel) -> None:
        """Stores a document as JSON."""
        self.put(key, document.model_dump_json().encode(), media_type=JSON)

    def get_document(self, key: str, kind: type[D]) -> D | None:
        """A JSON document, or None if there is none under this key. Raises as `read_document` does."""
        try:
            return read_document(self.get(key), kind)
        except Missing:
            return None

    def get_tagged_document(self, key: str, kind: type[D]) -> tuple[D | None, str | None]:
        """A JSON document and its ETag, or None twice. Raises as `read_document` does."""
        try:
            data, tag = self._run(key, lambda: read_tagged(self._client, self._name, key))
        except Missing:
            return None, None
        return read_document(data, kind), tag

    def replace_document(self, key: str, document: BaseModel, *, tag: str | None) -> bool:
        """Stores a document as JSON, unless another process has changed the object meanwhile.

        A store that does not support conditional writes always stores it, so that the caller needs a lock as well.

        Args:
            key: The object.
            document: The document.
            tag: ETag of the object that is replaced; None if there must be no object.

        Returns:
            False if the store refused, because the object is not the expected one.
        """
        data = document.model_dump_json().encode()
        write = partial(write_if_unchanged, self._client, self._name, key, data, media_type=JSON, tag=tag)
        return self._run(key, write)

    def stream(self, key: str, chunk: int = CHUNK) -> Iterator[bytes]:
        """The object in chunks. Raises `Missing` at the call, not at the first chunk."""
        deadline = self._start()
        body, first = self._run_until(key, lambda: self._open(key, chunk, deadline), deadline)
        return self._read(key, body, first, chunk)

    def _open(self, key: str, chunk: int, deadline: Deadline) -> "tuple[StreamingBody, bytes]":
        answer = self._client.get_object(Bucket=self._name, Key=key)
        deadline.extend(min(chunk, answer["ContentLength"]))
        return answer["Body"], answer["Body"].read(chunk)

    def _read(self, key: str, body: "StreamingBody", data: bytes, chunk: int) -> Iterator[bytes]:
        """Yields chunks; each has the time of a call. Time in which the caller does not ask for one does not count."""
        with closing(body):
            while data:
                yield data
                data = self._run(key, partial(body.read, chunk))

    def keys(self, prefix: str, after: str = "") -> Iterator[str]:
        """All keys that begin with `prefix` and follow `after`, in lexicographic order."""
        return (stored.key for stored in self.list(prefix, after))

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """All objects whose keys begin with `prefix` and follow `after`, in lexicographic order of their keys."""
        start = cast("Any", {"StartAfter": after} if after else {})
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix, **start))
        while page := self._run(prefix, lambda: next(pages, None)):
            for item in page.get("Contents", []):
                yield Stored(item["Key"], item["Size"], item["LastModified"], item.get("ETag", ""))

    def folders(self, prefix: str, after: str = "") -> Iterator[str]:
        """The parts of all keys between `prefix` and the next slash, in lexicographic order; each of them once.

        Args:
            prefix: The prefix.
            after: Only parts that follow this one.
        """
        paginator = self._client.get_paginator("list_objects_v2")
        start = cast("Any", {"StartAfter": f"{prefix}{after}{AFTER_SLASH}"} if after else {})
        pages = iter(paginator.paginate(Bucket=self._name, Prefix=prefix, Delimiter="/", **start))
        while page := self._run(prefix, lambda: next(pages, None)):
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"].removeprefix(prefix).removesuffix("/")

    def delete(self, key: str) -> None:
        """Removes an object. It is no error if the object does not exist."""
        self._run(key, lambda: self._client.delete_object(Bucket=self._name, Key=key))

    def delete_all(self, keys: Sequence[str]) -> None:
        """Removes objects, in any order. It is no error if one does not exist."""
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            if not (len(batch) > 1 and self._deletes_batches and self._delete_batch(batch)):
                delete_one_by_one(self.delete, batch)

    def _delete_batch(self, keys: Sequence[str]) -> bool:
        call = partial(delete_batch, self._client, self._name, keys)
        self._deletes_batches = self._run(keys[0], call)
        return self._deletes_batches

    def supports_conditional_put(self, key: str) -> bool:
        """Whether the store refuses a conditional write (If-None-Match) to a key that exists.

        Args:
            key: A key under which an object exists; an unsupporting store overwrites it with an empty one.
        """
        return self._run(key, lambda: self._put_conditionally(key))

    def _put_conditionally(self, key: str) -> bool:
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
        return False

    def presign(self, key: str, *, seconds: int, media_type: str, disposition: str = "inline") -> str:
        """A URL from which the object can be read without credentials.

        Args:
            key: The object.
            seconds: How long the URL is valid.
            media_type: Content type of the response.
            disposition: Content disposition of the response.
        """
        params = {
            "Bucket": self._name,
            "Key": key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
        }
        return self._public.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)


def read_document(data: bytes, kind: type[D]) -> D:
    """Parses a stored JSON document.

    Raises:
        UnsupportedFormat: A newer version of the service wrote the document in a format that this version cannot read.
        ValidationError: The bytes are not such a document.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        with suppress(ValueError, TypeError, LookupError):
            if from_json(data)["format"] > kind.model_fields["format"].default:
                raise UnsupportedFormat("a newer version has written this document; upgrade this service") from error
        raise


def _translate(key: str, function: Callable[[], T]) -> T:
    """Calls a function; errors of the store become `Missing` or `Unavailable`."""
    try:
        return function()
    except ClientError as error:
        if read_code(error) in MISSING:
            raise Missing(key) from error
        raise explain(error) from error
    except (BotoCoreError, Boto3Error, HTTPError, TimeoutError) as error:  # HTTPError if a response is cut off
        raise explain(error) from error
