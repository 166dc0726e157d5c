"""A running stack with a proxy in front of its store, and operations that disturb its processes."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import redis

from deploy.local import Stack, run_stack
from deploy.processes import ProcessGroup
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.storage.s3 import Bucket
from tests.chaos.ledger import Ledger
from tests.chaos.networks import BAD, write_entries
from tests.chaos.processes import find_pool_child
from tests.chaos.proxy import Proxy
from tests.support.threads import single_threaded

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
"""Settings for fast detection of faults. Names that the settings do not have are left out."""


@dataclass
class Stage:
    """A stack under test.

    Attributes:
        seed: The seed of all random choices.
        short: Whether scenarios run in the short form.
        random: The random generator of all scenarios.
        down: Processes that a scenario has stopped on purpose.
    """

    stack: Stack
    proxy: Proxy
    seed: int
    short: bool
    folder: Path
    random: Random = field(default_factory=Random)
    down: set[str] = field(default_factory=set)

    @property
    def processes(self) -> ProcessGroup:
        return self.stack.processes

    @property
    def settings(self) -> Settings:
        """The settings of the services, which reach the store through the proxy."""
        return self.stack.settings

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket, accessed without the proxy. It takes a while to make."""
        return Bucket(self.settings.model_copy(update={"s3_endpoint": f"http://{self.proxy.upstream}"}))

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.settings.redis_url, decode_responses=True)

    def find_owner(self, job_id: str) -> str:
        """Returns the worker that claimed a job last, by its log; a random one if none has."""
        claims = [(moment, name) for name in WORKERS for moment in self._read_claims(name, job_id)]
        return max(claims)[1] if claims else self.random.choice(WORKERS)

    def _read_claims(self, name: str, job_id: str) -> Iterator[str]:
        for line in self.processes.log(name).read_text(errors="replace").splitlines():
            if job_id in line and '"job.claimed"' in line:
                with suppress(ValueError):
                    yield str(json.loads(line)["timestamp"])

    def kill_child(self, name: str) -> None:
        """Sends SIGKILL to the child process of a worker in which jobs run; the worker starts a new one."""
        child = find_pool_child(self.processes.children[name].pid)
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill(self, *names: str) -> None:
        """Sends SIGKILL to processes and their descendants."""
        self.down.update(names)
        for name in names:
            self.processes.kill(name)

    def start(self, *names: str) -> None:
        """Starts stopped processes; waits until Redis and the API are ready."""
        for name in names:
            self.processes.start(name)
            self.down.discard(name)
        if "redis" in names:
            self.processes.wait_for("redis", RedisClient(self.settings).ping)
        if "api" in names:
            self.processes.wait_for("api", self.probe_api)

    def restart(self, name: str, env: dict[str, str]) -> None:
        """Stops a process and starts it with another environment."""
        self.processes.stop(name)
        self.processes.envs[name] = env
        self.start(name)

    def restart_redis(self) -> None:
        """Stops Redis with SIGTERM and starts it again."""
        self.down.add("redis")
        self.processes.stop("redis")
        self.start("redis")

    def cut_redis(self, bytes_lost: int) -> None:
        """Kills Redis, removes the end of its append-only file, and starts it again."""
        self.kill("redis")
        files = sorted((self.folder / "redis").rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        os.truncate(files[-1], max(0, files[-1].stat().st_size - bytes_lost))
        self.start("redis")

    def wipe_redis(self) -> None:
        self.redis.flushall()

    def pause(self, *names: str) -> None:
        """Sends SIGSTOP to processes and their descendants."""
        for name in names:
            self.processes.send(name, signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        for name in names:
            self.processes.send(name, signal.SIGCONT)

    def probe_api(self) -> None:
        urllib.request.urlopen(f"{self.stack.url}/readyz", timeout=5).close()

    def heal(self, ledger: Ledger) -> None:
        """Ends all faults and starts all stopped processes; records processes that stopped by themselves."""
        self.proxy.faults.clear()
        self.proxy.hooks.clear()
        stopped = [name for name, child in self.processes.children.items() if child.poll() is not None]
        self.resume(*(name for name in self.processes.children if name not in stopped))
        for name in set(stopped) - self.down:
            lines = self.processes.log(name).read_text(errors="replace").splitlines()
            last = ([line for line in lines if "CRITICAL" in line] or lines or [""])[-1]
            ledger.expect(False, f"{name} does not stop by itself; its log ends with: {last[:200]}")
        self.start(*stopped)
        self.processes.wait_for("redis", RedisClient(self.settings).ping)
        self.processes.wait_for("api", self.probe_api)

    def recover(self, ledger: Ledger, *, seconds: float) -> None:
        """Waits until all jobs have ended, and starts processes that stop, like a process supervisor."""
        limit = time.monotonic() + seconds
        self.heal(ledger)
        while not ledger.is_over() and time.monotonic() < limit:
            ledger.wait_until(ledger.is_over, seconds=3)
            self.heal(ledger)
        ledger.settle(seconds=0)

    def list_unfinished(self) -> list[str]:
        """Returns the jobs that are marked as open in the store and have a request. Others were never accepted."""
        bucket = self.bucket
        ids = [key.removeprefix("open/") for key in bucket.keys("open/")]
        return [job_id for job_id in ids if f"jobs/{job_id}/request.json" in bucket.keys(f"jobs/{job_id}/request")]

    def list_requests(self, tag: str) -> list[str]:
        """Returns the ids of all jobs whose stored request has a tag."""
        bucket = self.bucket
        keys = [key for key in bucket.keys("jobs/") if key.endswith("/request.json")]
        return [key.split("/")[1] for key in keys if json.dumps(tag).encode() in bucket.get(key)]


@contextmanager
def open_stage(
    folder: Path, *, seed: int, short: bool, bad: str = write_entries(), max_attempts: int | None = None
) -> Iterator[Stage]:
    """Starts a stack with two workers and a proxy in front of its store.

    Args:
        folder: Folder of data and logs.
        seed: Seed of all random choices.
        short: Whether scenarios run in the short form.
        bad: Catalogue entries of faulty networks.
        max_attempts: How often a shard is tried, if not as often as by default.
    """
    catalogue = folder / "models.toml"
    catalogue.write_text(bad)
    quick = {name: value for name, value in QUICK_SETTINGS.items() if name in Settings.model_fields}
    if max_attempts is not None:
        quick["max_attempts"] = max_attempts
    with Proxy() as proxy, single_threaded():
        settings = Settings(
            s3_endpoint=proxy.url,
            catalogue=catalogue,
            factories={name: f"tests.chaos.networks:{name}" for name in (*BAD, "wait")},
            cache=folder / "cache",
            **quick,
        )
        with run_stack(folder, settings, workers=len(WORKERS), store=proxy.upstream) as stack:
            stage = Stage(stack, proxy, seed, short, folder.resolve())
            try:
                yield stage
            finally:
                stage.resume(*(name for name, child in stage.processes.children.items() if child.poll() is None))
