"""Servers that the service depends on, and that hang or are slow."""

import io
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial

import numpy as np

from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import Stage, bearer
from tests.siege.traffic import MULTIPART, Crowd, call, make_form
from tests.support.identity_provider import IdentityProvider, make_private_key

IMPATIENT_SECONDS = 2.0
"""Clients give up after this time and send their request again, so that abandoned requests pile up."""

READY_SECONDS = 5.0
CALLERS = 8
UPLOAD_BYTES, BYTES_PER_SECOND, UPLOAD_SECONDS = 24_000_000, 1_200_000, 120.0


def hang(stage: Stage, findings: Findings, *, name: str, cut: Callable[[Stage], AbstractContextManager[None]]) -> None:
    """Cuts the service off from a server while impatient clients repeat their requests."""

    def read() -> int | None:
        path = f"/v1/jobs/{stage.known_job}"
        return call(stage.address, "GET", path, seconds=IMPATIENT_SECONDS, headers=bearer(stage.bystander))[0]

    def submit() -> int | None:
        return stage.submit(findings, stage.bystander_request, key=stage.bystander, seconds=IMPATIENT_SECONDS)

    with cut(stage), Crowd(read, count=CALLERS // 2) as reads, Crowd(submit, count=CALLERS // 2) as submits:
        stage.hold()
        began = time.monotonic()
        status, document = call(stage.address, "GET", "/readyz", seconds=READY_SECONDS * stage.patience)
        sentence = f"/readyz answers 503 within {READY_SECONDS:g} s and names {name}; it answered {status} {document}"
        findings.expect(status == 503 and name in str(document), sentence)
        findings.note(f"/readyz answered {status} after {time.monotonic() - began:.1f} s")
    findings.note(f"impatient reads: {reads.describe()}; submits: {submits.describe()}")


def cut_store(stage: Stage) -> AbstractContextManager[None]:
    """Makes the store hang."""
    return stage.gate.hung()


@contextmanager
def pause_redis(stage: Stage) -> Iterator[None]:
    """Makes Redis hang: its process is stopped, and its connections stay open."""
    stage.processes.send("redis", signal.SIGSTOP)
    try:
        yield
    finally:
        stage.processes.send("redis", signal.SIGCONT)


def hang_provider(stage: Stage, findings: Findings) -> None:
    """Sends many tokens of the identity provider, which hangs."""
    token = IdentityProvider(stage.issuer, make_private_key()).sign()

    def read() -> int | None:
        return call(stage.address, "GET", "/v1/jobs", seconds=IMPATIENT_SECONDS, headers=bearer(token))[0]

    with Crowd(read, count=40) as crowd:
        stage.hold()
    findings.note(f"calls with a token: {crowd.describe()}")


def upload_slowly(stage: Stage, findings: Findings) -> None:
    """Uploads a large archive while the store takes a megabyte per second."""
    form, headers = make_form(large_archive(), "large.zip"), {**bearer(stage.attacker), "Content-Type": MULTIPART}
    began = time.monotonic()
    with stage.gate.slow(BYTES_PER_SECOND):
        status, document = call(stage.address, "POST", "/v1/archives", form, seconds=UPLOAD_SECONDS, headers=headers)
    seconds = time.monotonic() - began
    sentence = f"the upload is stored; after {seconds:.0f} s it was answered with {status} {document.get('detail', '')}"
    findings.expect(status == 201, sentence)
    findings.note(f"{len(form)} bytes at {BYTES_PER_SECOND} bytes per second took {seconds:.0f} s")


@cache
def large_archive() -> bytes:
    """A ZIP archive whose members have names of pictures."""
    noise, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(8):
            archive.writestr(f"{number}.png", noise.bytes(UPLOAD_BYTES // 8))
    return buffer.getvalue()


ATTACKS = (
    Attack(9, "store-hangs", "the store hangs", partial(hang, name="store", cut=cut_store), cuts=True),
    Attack(9, "redis-hangs", "Redis hangs", partial(hang, name="redis", cut=pause_redis), cuts=True),
    Attack(9, "provider-hangs", "the identity provider hangs, 40 callers with tokens", hang_provider),
    Attack(
        9,
        "store-slow",
        "an upload of 24 MB to a store that takes 1.2 MB per second",
        upload_slowly,
        prepare=large_archive,
    ),
)
