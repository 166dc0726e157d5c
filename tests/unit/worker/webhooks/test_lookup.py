"""Lookups of receivers: a resolver that hangs holds neither the delivery nor other tenants."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until
from worker.webhooks.lookup import MAX_LOOKUPS_OF_TENANT, Lookups, LookupsBusy


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that hangs until the event is set, unless the host is `fast`."""
    released = threading.Event()

    def resolve(host: bytes, port: int, **_: Any) -> list[Any]:
        if host != b"fast":
            released.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", port))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield released
    released.set()


def look_up(lookups: Lookups, tenant: str, host: str, seconds: float = 30) -> list[str]:
    async def find() -> list[str]:
        return await asyncio.wait_for(lookups.find_addresses(tenant, host, 443), seconds)

    return asyncio.run(find())


def test_a_name_is_looked_up_without_the_python_codec_for_names() -> None:
    with pytest.raises(socket.gaierror):  # and not a UnicodeError
        look_up(Lookups(), "t", "a..b")


def test_each_address_is_named_once(hanging: threading.Event) -> None:
    assert look_up(Lookups(), "t", "fast") == ["1.1.1.1"]


def test_a_resolver_that_hangs_delays_its_own_tenant_alone(hanging: threading.Event) -> None:
    lookups = Lookups()
    for _ in range(MAX_LOOKUPS_OF_TENANT):
        with pytest.raises(TimeoutError):
            look_up(lookups, "slow", "hangs", seconds=0.01)
    with pytest.raises(LookupsBusy, match="have not ended"):
        look_up(lookups, "slow", "fast")
    assert look_up(lookups, "other", "fast") == ["1.1.1.1"]
    hanging.set()
    wait_until(lambda: not lookups._active, 30)
    assert look_up(lookups, "slow", "fast") == ["1.1.1.1"]


def test_a_lookup_that_cannot_start_keeps_no_place(monkeypatch: pytest.MonkeyPatch, hanging: threading.Event) -> None:
    lookups = Lookups()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_thread)
        for _ in range(MAX_LOOKUPS_OF_TENANT):
            with pytest.raises(OSError, match="thread"):
                look_up(lookups, "t", "fast")
    assert look_up(lookups, "t", "fast") == ["1.1.1.1"]


def refuse_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
