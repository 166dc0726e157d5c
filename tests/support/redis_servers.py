"""Redis servers of their own for tests that stop them, fill them, or need other options."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from deploy.processes import ProcessGroup
from deploy.servers import find_redis, free_port

FULL = 4_000_000
"""The maximum memory of a full Redis. Its data alone uses twice as much, because buffers of clients shrink again."""


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
    """Fills a Redis with data until it refuses more; removes that data afterwards."""
    server = redis.Redis.from_url(url)
    server.config_set("maxmemory-policy", "noeviction")
    server.set("filler", bytes(2 * FULL))
    server.config_set("maxmemory", FULL)
    try:
        yield
    finally:
        server.config_set("maxmemory", 0)
        server.delete("filler")
        server.close()
