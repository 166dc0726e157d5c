"""Scenario 8: the disk is full, and the clock jumps."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archetype.client import ServiceError
from archetype.contract.job import State
from tests.chaos.clock import Clock
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import Stage

HOUR = 3600
DISKS = {"redis": "24m", "s3": "64m"}
"""Folders with their own file system, and its size."""


@contextmanager
def small_disks(folder: Path) -> Iterator[None]:
    """Mounts a file system in memory for each kind of data. Needs a mount namespace with a root user."""
    mounted: list[Path] = []
    try:
        for name, size in DISKS.items():
            target = folder / name
            target.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(target)], check=True, timeout=10)
            mounted.append(target)
        yield
    finally:
        for target in mounted:
            subprocess.run(["umount", "--lazy", str(target)], check=False, timeout=10)


def fill_disks(stage: Stage, ledger: Ledger) -> None:
    """Fills each disk for a while: requests are refused or wait, and all accepted jobs succeed afterwards."""
    for name in DISKS:
        jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
        ledger.wait_for_step(jobs[0])
        with _filled(stage.folder / name):
            time.sleep(2)
            status = _submit(stage, ledger, f"full-{name}")
            ledger.notes.append(f"POST with {name} full: {status}")
            ledger.expect(status in {"202", "503", "507"}, f"POST is accepted or refused with {name} full")
            time.sleep(2 if stage.short else 20)
        ledger.begin_recovery()
        stage.recover(ledger, seconds=60)
        states = {ledger.entries[job_id].last.state for job_id in jobs}
        ledger.expect(
            states == {State.SUCCEEDED}, f"jobs succeed when {name} has space again; they are {sorted(states)}"
        )


def jump(stage: Stage, ledger: Ledger, clock: Clock) -> None:
    """Moves the clock an hour forward and back, each time while a job runs, and then kills the worker of that job.

    The clock of the store moves too, as on the same machine.
    """
    stage.proxy.keys = stage.settings
    for offset in (HOUR, 0) if stage.short else (HOUR, 0, -HOUR, 0):
        jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
        ledger.wait_for_step(jobs[0])
        clock.jump_to(offset)
        ledger.begin_recovery()
        time.sleep(1)
        status = _submit(stage, ledger, f"clock-{offset}")
        ledger.expect(status in {"202", "503"}, f"POST is accepted or refused, clock at {offset} s: {status}")
        stage.kill_child(stage.find_owner(jobs[0]))
        ledger.begin_recovery()
        ledger.settle(seconds=60)
        count = len(ledger.open_entries())
        ledger.expect(not count, f"all jobs end within a minute, clock at {offset} s; {count} have not")


def jump_alone(stage: Stage, ledger: Ledger, clock: Clock) -> None:
    """Moves the clock of the services, but not of the store: it refuses their signatures, and jobs wait."""
    stage.proxy.keys = None
    jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
    clock.jump_to(HOUR)
    time.sleep(3)
    status = _submit(stage, ledger, "clock-alone")
    ledger.expect(status == "503", f"POST answers 503 when the store refuses the signature; instead: {status}")
    time.sleep(1 if stage.short else 20)
    clock.jump_to(0)
    ledger.begin_recovery()
    ledger.settle(seconds=60)
    states = {ledger.entries[job_id].last.state for job_id in jobs}
    ledger.expect(states == {State.SUCCEEDED}, f"jobs succeed when the clock is right again; they are {sorted(states)}")


def _submit(stage: Stage, ledger: Ledger, tag: str) -> str:
    """Submits a request and returns the status of the response."""
    try:
        ledger.submit(small(stage.random, tag))
    except ServiceError as error:
        return str(error.problem.status) if error.problem else str(error)
    return "202"


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """Fills a disk until the block ends."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        path.unlink()
