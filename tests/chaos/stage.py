"""The running stack with the proxy before its store, and all that may be done to its parts."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import redis

from deploy.family import Family
from deploy.local import Stack, run_stack
from shared.bucket import Bucket
from shared.records import Records
from shared.settings import Settings
from tests.chaos.ledger import Ledger
from tests.chaos.networks import BAD, write_entries
from tests.chaos.processes import find_pool_child
from tests.chaos.proxy import Proxy

WORKERS = ("worker", "worker-2")
LEASE_SECONDS = 3.0
QUICK_SETTINGS: dict[str, Any] = {
    "lease_seconds": LEASE_SECONDS,
    "sweep_seconds": 0.5,
    "reconcile_seconds": 3,
    "step_seconds": 8,
    "checkpoint_seconds": 1,
    "lane_seconds": 10,
    "log_format": "json",
}
"""A service that notices soon what is wrong. Names that these settings do not have are left out."""


@dataclass
class Stage:
    """A stack that things happen to.

    Attributes:
        seed: What all chance comes from.
        short: Whether a scenario should take the short form.
        random: The one source of chance.
        down: Parts that were taken down on purpose, and not by themselves.
    """

    stack: Stack
    proxy: Proxy
    seed: int
    short: bool
    folder: Path
    random: Random = field(default_factory=Random)
    down: set[str] = field(default_factory=set)

    @property
    def family(self) -> Family:
        return self.stack.family

    @property
    def settings(self) -> Settings:
        """Of the services: their way to the store leads through the proxy."""
        return self.stack.settings

    @property
    def bucket(self) -> Bucket:
        """The store itself, past the proxy."""
        return Bucket(self.settings.model_copy(update={"s3_endpoint": f"http://{self.proxy.upstream}"}))

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.settings.redis_url, decode_responses=True)

    def find_owner(self, job_id: str) -> str:
        """The worker that took a job last, as its log tells; a random one where none has."""
        claims = [(moment, name) for name in WORKERS for moment in self._read_claims(name, job_id)]
        return max(claims)[1] if claims else self.random.choice(WORKERS)

    def _read_claims(self, name: str, job_id: str) -> Iterator[str]:
        for line in self.family.log(name).read_text(errors="replace").splitlines():
            if job_id in line and '"job.claimed"' in line:
                with suppress(ValueError):
                    yield str(json.loads(line)["timestamp"])

    def kill_child(self, name: str) -> None:
        """SIGKILL for the process that does a worker's work; the worker starts another."""
        child = find_pool_child(self.family.children[name].pid)
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill(self, *names: str) -> None:
        """SIGKILL for whole parts, with all of their processes."""
        self.down.update(names)
        for name in names:
            self.family.kill(name)

    def start(self, *names: str) -> None:
        """Starts parts that were taken down, and waits until they answer where they can."""
        for name in names:
            self.family.start(name)
            self.down.discard(name)
        if "redis" in names:
            self.family.wait_for("redis", Records(self.settings).ping)
        if "api" in names:
            self.family.wait_for("api", self.ask_api)

    def restart_redis(self) -> None:
        """SIGTERM, and started again."""
        self.down.add("redis")
        self.family.stop("redis")
        self.start("redis")

    def cut_redis(self, bytes_lost: int) -> None:
        """SIGKILL, the end of the append-only file lost, and started again."""
        self.kill("redis")
        files = sorted((self.folder / "redis").rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        os.truncate(files[-1], max(0, files[-1].stat().st_size - bytes_lost))
        self.start("redis")

    def wipe_redis(self) -> None:
        self.redis.flushall()

    def pause(self, *names: str) -> None:
        """SIGSTOP for all of a part's processes."""
        for name in names:
            self.family.send(name, signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        for name in names:
            self.family.send(name, signal.SIGCONT)

    def ask_api(self) -> None:
        urllib.request.urlopen(f"{self.stack.url}/readyz", timeout=5).close()

    def heal(self, ledger: Ledger) -> None:
        """Ends every fault and starts what is down; notes which parts had stopped by themselves."""
        self.proxy.faults.clear()
        self.proxy.hooks.clear()
        stopped = [name for name, child in self.family.children.items() if child.poll() is not None]
        self.resume(*(name for name in self.family.children if name not in stopped))
        for name in set(stopped) - self.down:
            lines = self.family.log(name).read_text(errors="replace").splitlines()
            told = [line for line in lines if "CRITICAL" in line] or lines or [""]
            ledger.expect(False, f"the {name} does not stop by itself; its log says: {told[-1][:200]}")
        self.start(*stopped)
        self.family.wait_for("redis", Records(self.settings).ping)
        self.family.wait_for("api", self.ask_api)

    def recover(self, ledger: Ledger, *, seconds: float) -> None:
        """Waits until everything has ended, and meanwhile starts what stops, as whoever runs the service would."""
        limit = time.monotonic() + seconds
        self.heal(ledger)
        while not ledger.is_over() and time.monotonic() < limit:
            ledger.wait_until(ledger.is_over, seconds=3)
            self.heal(ledger)
        ledger.settle(seconds=0)

    def list_unfinished(self) -> list[str]:
        """The jobs that are marked as open in the store, as far as they have a request: without one, nobody waits."""
        bucket = self.bucket
        ids = [key.removeprefix("open/") for key in bucket.keys("open/")]
        return [job_id for job_id in ids if f"jobs/{job_id}/request.json" in bucket.keys(f"jobs/{job_id}/request")]

    def list_requests(self, tag: str) -> list[str]:
        """The ids of all jobs whose stored request has a tag."""
        bucket = self.bucket
        keys = [key for key in bucket.keys("jobs/") if key.endswith("/request.json")]
        return [key.split("/")[1] for key in keys if json.dumps(tag).encode() in bucket.get(key)]


@contextmanager
def open_stage(folder: Path, *, seed: int, short: bool, bad: str = write_entries()) -> Iterator[Stage]:
    """Starts the stack with two workers behind a proxy."""
    catalogue = folder / "models.toml"
    catalogue.write_text(bad)
    quick = {name: value for name, value in QUICK_SETTINGS.items() if name in Settings.model_fields}
    with Proxy() as proxy, _single_threaded():
        settings = Settings(
            s3_endpoint=proxy.url,
            catalogue=catalogue,
            factories={name: f"tests.chaos.networks:{name}" for name in BAD},
            cache=folder / "cache",
            **quick,
        )
        with run_stack(folder, settings, workers=len(WORKERS), store=proxy.upstream) as stack:
            stage = Stage(stack, proxy, seed, short, folder.resolve())
            try:
                yield stage
            finally:
                stage.resume(*(name for name, child in stage.family.children.items() if child.poll() is None))


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Two workers on two cores are several times faster where neither takes both for one multiplication."""
    earlier = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if earlier is not None:
            os.environ["OMP_NUM_THREADS"] = earlier
