"""Clients of the object store, and how long the service waits for it."""

import ipaddress
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from shared.process.guarded_calls import is_abandoned
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BYTES_PER_SECOND = 131_072
"""The store must move bytes at least at this rate, once a call has had its time."""

PARTS = TransferConfig(multipart_chunksize=5 << 20, max_concurrency=2)
"""How large files are uploaded: many parts at the same time would share a slow connection and each take long."""

PART_SECONDS = 2 * (5 << 20) / BYTES_PER_SECOND
UPLOADS = 8
"""Uploads of large files at the same time."""


@dataclass(frozen=True)
class Patience:
    """How long, and how often, a process tries a call.

    Attributes:
        seconds: Time of a call that moves few bytes.
        attempts: Attempts in this time.
        running: Calls at the same time.
        waiting: Calls that wait for these.
        remembers: Whether calls are refused at once for some seconds after failures in a row.
    """

    seconds: float = 60
    attempts: int = 4
    running: int = 64
    waiting: int = 64
    remembers: bool = False


PATIENT = Patience()
"""For processes that have time: workers, the webhook sender, tools."""

QUICK = Patience(seconds=4, attempts=2, running=24, waiting=40, remembers=True)
"""For the API, whose threads clients wait for."""


def connect(settings: Settings, endpoint: str | None, *, seconds: float, attempts: int) -> "S3Client":
    """Returns a client.

    Args:
        settings: The settings.
        endpoint: The URL of the store; None for AWS.
        seconds: How long one attempt waits for the store.
        attempts: How often a call is tried.
    """
    with _lock:  # a session is not safe for several threads
        client: S3Client = cast("Any", _session().client)(
            "s3",
            endpoint_url=endpoint,
            verify=str(settings.ca_bundle) if settings.ca_bundle else None,
            region_name=settings.s3_region,
            config=_configure(endpoint, seconds, attempts),
            **settings.s3_credentials,
        )
    client.meta.events.register("before-send.s3", _refuse_abandoned)
    return client


_lock = Lock()


@cache
def _session() -> boto3.session.Session:
    """Returns the session of this process, which reads the description of S3 once; each session would read it again."""
    return boto3.session.Session()


def _configure(endpoint: str | None, seconds: float, attempts: int) -> Config:
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=min(3, seconds),
        read_timeout=seconds,
        max_pool_connections=64,
        proxies={} if _is_loopback(endpoint) else None,
        # Older S3-compatible stores refuse checksums in trailers, which are boto3's default since 1.36.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _refuse_abandoned(**_: Any) -> None:
    """Ends a call before its next attempt if its caller does not wait any more: a late write could undo a newer one."""
    if is_abandoned():
        raise TimeoutError("the caller of this request does not wait for it any more")


def _is_loopback(endpoint: str | None) -> bool:
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
