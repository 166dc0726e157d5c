"""One bucket of an S3-compatible store: bytes in, bytes out, and one error when it does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from urllib3.exceptions import HTTPError

from shared.errors import Newer, Unavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

D = TypeVar("D", bound=BaseModel)
MISSING = {"NoSuchKey", "404", "NotFound"}


class Missing(KeyError):
    """There is no object under that key."""


class Stored(NamedTuple):
    """An object, not read."""

    key: str
    bytes: int
    modified: datetime


class Bucket:
    """Objects by key. Every call raises `Unavailable` when the store does not answer within its limits."""

    def __init__(self, settings: Settings) -> None:
        self._name, self._endpoint = settings.s3_bucket, settings.s3_endpoint
        self._client = _connect(settings, settings.s3_endpoint)
        # The host is part of a presigned URL's signature, so those need a client of their own.
        self._public = _connect(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    def create(self) -> None:
        """Makes the bucket if there is none."""
        with _translated(self._name):
            try:
                self._look()
            except ClientError as error:
                if _code(error) not in MISSING | {"NoSuchBucket"}:
                    raise
                # AWS wants to be told the region of a bucket, but for the first of its regions, and others not at all.
                region = self._client.meta.region_name
                told = {"CreateBucketConfiguration": {"LocationConstraint": region}} if self._on_aws(region) else {}
                self._client.create_bucket(Bucket=self._name, **cast("Any", told))

    def _on_aws(self, region: str) -> bool:
        return self._endpoint is None and region != "us-east-1"

    def ping(self) -> None:
        """Asks whether the bucket is there, and lets itself be listed; that it may know nothing else of the bucket."""
        with _translated(self._name):
            self._look()

    def _look(self) -> None:
        self._client.list_objects_v2(Bucket=self._name, Prefix="open/", MaxKeys=1)

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Stores an object whole."""
        with _translated(key):
            self._client.put_object(Bucket=self._name, Key=key, Body=data, ContentType=media_type)

    def put_file(self, key: str, file: IO[bytes], *, media_type: str) -> None:
        """Stores a file of any size, in parts where it is large."""
        with _translated(key):
            self._client.upload_fileobj(file, self._name, key, ExtraArgs={"ContentType": media_type})

    def get(self, key: str) -> bytes:
        """The whole object. Raises `Missing`."""
        with _translated(key):
            return self._client.get_object(Bucket=self._name, Key=key)["Body"].read()

    def put_document(self, key: str, document: BaseModel) -> None:
        """Stores a document as JSON."""
        self.put(key, document.model_dump_json().encode(), media_type="application/json")

    def get_document(self, key: str, kind: type[D]) -> D | None:
        """A document, or None if there is none under that key."""
        try:
            return read_document(self.get(key), kind)
        except Missing:
            return None

    def stream(self, key: str, chunk: int = 65_536) -> Iterator[bytes]:
        """The object in chunks; raises `Missing` at once, not at the first chunk."""
        with _translated(key):
            body = self._client.get_object(Bucket=self._name, Key=key)["Body"]
        return _read(key, body, chunk)

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key that begins with `prefix`, in their order."""
        return (stored.key for stored in self.list(prefix))

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key begins with `prefix`, in the order of their keys."""
        with _translated(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield Stored(item["Key"], item["Size"], item["LastModified"])

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is no error."""
        with _translated(key):
            self._client.delete_object(Bucket=self._name, Key=key)

    def keeps_first(self, key: str) -> bool:
        """Whether a write that is meant for nothing (If-None-Match) is refused where something is; tries it there."""
        with _translated(key):
            try:
                self._client.put_object(Bucket=self._name, Key=key, Body=b"", IfNoneMatch="*")
            except ClientError as error:
                return error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
        return False

    def presign(self, key: str, *, seconds: int, media_type: str) -> str:
        """A URL that anyone may get the object from for a while."""
        wanted = {"Bucket": self._name, "Key": key, "ResponseContentType": media_type}
        return self._public.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds)


def read_document(data: bytes, kind: type[D]) -> D:
    """A document as it was stored.

    Raises:
        Newer: A newer version has written it, in a format that this one does not know.
        ValidationError: It is none.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        with suppress(ValueError, TypeError, LookupError):
            if from_json(data)["format"] > kind.model_fields["format"].default:
                raise Newer("a newer version has written this; upgrade what reads it") from error
        raise


def _connect(settings: Settings, endpoint: str | None) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=3,
        read_timeout=15,
        max_pool_connections=32,
        # Checksums in trailers, boto3's default since 1.36, are refused by older S3-compatibles.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        verify=str(settings.ca) if settings.ca else None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        config=config,
    )


def _read(key: str, body: "StreamingBody", chunk: int) -> Iterator[bytes]:
    with _translated(key):
        yield from body.iter_chunks(chunk)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) in MISSING:
            raise Missing(key) from error
        raise Unavailable(f"the object store refused a call ({_code(error)}); try again in a moment") from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:  # the last where a refusal breaks off in the middle
        raise Unavailable("the object store does not answer; try again in a moment") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
