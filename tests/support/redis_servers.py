"""Redis servers of their own for tests that stop them, fill them, or need other options."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import redis

from deploy.processes import ProcessGroup
from deploy.servers import find_redis, free_port

HEADROOM = 4_000_000
"""Bytes above the maximum that a full Redis uses: more than its buffers of clients shrink by themselves."""


VALUE = 10_000
"""Bytes of one value of the data that fills a Redis."""


@contextmanager
def run_redis(folder: Path, *options: str, program: str = "") -> Iterator[tuple[str, ProcessGroup]]:
    """Runs a Redis server; yields its URL."""
    folder.mkdir(exist_ok=True)
    (folder / "log").mkdir(exist_ok=True)
    port = free_port()
    processes = ProcessGroup(folder, dict(os.environ))
    command = [program or find_redis(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with processes.run("redis", [*command, "--save", "", *options]):
        processes.wait_for("redis", lambda: socket.create_connection(("127.0.0.1", port)).close())
        yield f"redis://127.0.0.1:{port}/0", processes


@contextmanager
def filled(url: str) -> Iterator[None]:
    """Fills a Redis with data until it refuses more; removes that data afterwards.

    Raises:
        RuntimeError: It was not full any more at the end.
    """
    with redis.Redis.from_url(url) as writer, writer.pipeline(transaction=False) as pipe:
        for number in range(2 * HEADROOM // VALUE):  # small values: the buffers of large ones are freed after seconds
            pipe.set(f"filler:{number}", bytes(VALUE))
        pipe.execute()
    with redis.Redis.from_url(url) as server:
        server.config_set("maxmemory-policy", "noeviction")
        server.config_set("maxmemory", _read_used(server) - HEADROOM)
        try:
            yield
            if _read_used(server) <= int(server.config_get("maxmemory")["maxmemory"]):
                raise RuntimeError("Redis freed memory by itself")
        finally:
            server.config_set("maxmemory", 0)
            server.delete(*(f"filler:{number}" for number in range(2 * HEADROOM // VALUE)))


def _read_used(server: redis.Redis) -> int:
    return cast("dict[str, int]", server.info("memory"))["used_memory"]
