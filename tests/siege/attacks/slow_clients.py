"""Clients that hold connections: half a request header, a body that never ends, a response that is read slowly."""

import io
from functools import cache, partial

import numpy as np
from PIL import Image

from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import Stage, bearer
from tests.siege.traffic import MULTIPART, SlowConnections, call, make_form

HALF_HEADER = b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def half_headers(stage: Stage, findings: Findings, *, count: int, drip: bytes = b"") -> None:
    """Sends half a request header on each connection, then nothing, or a byte from time to time."""
    with SlowConnections(stage.address, HALF_HEADER, count=count, drip=drip) as slow:
        stage.hold()
    findings.note(f"{slow.opened} connections opened, {count} at a time")


def endless_bodies(stage: Stage, findings: Findings, *, count: int) -> None:
    """Announces a body and sends it a byte at a time."""
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {stage.address}\r\nAuthorization: Bearer {stage.attacker}\r\n"
    head += 'Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"method": "'
    with SlowConnections(stage.address, head.encode(), count=count, drip=b"a") as slow:
        stage.hold()
    findings.note(f"{slow.opened} connections opened, {count} at a time")


def slow_readers(stage: Stage, findings: Findings, *, count: int) -> None:
    """Requests a picture of several megabytes on each connection, and reads it a byte at a time."""
    form = make_form(large_picture(), "large.png")
    headers = bearer(stage.attacker) | {"Content-Type": MULTIPART}
    status, image = call(stage.address, "POST", "/v1/images", form, headers=headers)
    findings.expect(status == 201, f"the picture is stored; the answer was {status}")
    head = f"GET /v1/images/{image.get('id')} HTTP/1.1\r\nHost: {stage.address}\r\n"
    head += f"Authorization: Bearer {stage.attacker}\r\n\r\n"
    with SlowConnections(stage.address, head.encode(), count=count, reads=1) as slow:
        stage.hold()
    findings.note(f"{slow.opened} connections opened, {count} at a time")


@cache
def large_picture() -> bytes:
    """A picture of noise of nine megabytes."""
    levels = np.random.default_rng(0).integers(0, 256, (1700, 1800, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


ATTACKS = (
    Attack(9, "headers-70", "half a request header on 70 connections", partial(half_headers, count=70), short=True),
    Attack(9, "headers-300", "half a request header on 300 connections", partial(half_headers, count=300)),
    Attack(
        9, "headers-drip", "a header of a byte at a time on 70 connections", partial(half_headers, count=70, drip=b"a")
    ),
    Attack(9, "bodies-70", "a body that never ends on 70 connections", partial(endless_bodies, count=70)),
    Attack(
        9, "readers-70", "70 slow readers of a picture of 9 MB", partial(slow_readers, count=70), prepare=large_picture
    ),
)
