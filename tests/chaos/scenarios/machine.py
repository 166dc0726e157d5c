"""Scenario 8: the machine's disk fills up, and its clock jumps."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.client import ServiceError
from shared.jobs import State
from tests.chaos.clock import Clock
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import Stage

HOUR = 3600
DISKS = {"redis": "24m", "s3": "64m"}
"""What lies on a disk of its own, and how large that is."""


@contextmanager
def small_disks(folder: Path) -> Iterator[None]:
    """A file system in memory for each kind of data. Needs a mount namespace in which we are root."""
    mounted: list[Path] = []
    try:
        for name, size in DISKS.items():
            place = folder / name
            place.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True, timeout=10)
            mounted.append(place)
        yield
    finally:
        for place in mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=False, timeout=10)


def fill_disks(stage: Stage, ledger: Ledger) -> None:
    """Each disk in turn is full for a while: what comes is refused or waits, and all that was accepted ends."""
    for name in DISKS:
        jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
        ledger.wait_for_step(jobs[0])
        with _filled(stage.folder / name):
            time.sleep(2)
            tell = _ask(stage, ledger, f"full-{name}")
            ledger.notes.append(f"POST with {name} full: {tell}")
            ledger.expect(tell in {"202", "503", "507"}, f"POST is accepted or refused as it should with {name} full")
            time.sleep(2 if stage.short else 20)
        ledger.struck()
        stage.recover(ledger, seconds=60)
        states = {ledger.entries[job_id].last.state for job_id in jobs}
        ledger.expect(states == {State.SUCCEEDED}, f"jobs succeed once {name} has room; they are {sorted(states)}")


def jump(stage: Stage, ledger: Ledger, clock: Clock) -> None:
    """An hour forwards, home, an hour back, and home; each time while a job runs whose worker dies afterwards.

    The store's clock jumps with the others: it is on the same machine.
    """
    stage.proxy.keys = stage.settings
    for offset in (HOUR, 0) if stage.short else (HOUR, 0, -HOUR, 0):
        jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
        ledger.wait_for_step(jobs[0])
        clock.jump_to(offset)
        ledger.struck()
        time.sleep(1)
        told = _ask(stage, ledger, f"clock-{offset}")
        ledger.expect(told in {"202", "503"}, f"POST is accepted or refused as it should, clock at {offset} s: {told}")
        stage.kill_child(stage.find_owner(jobs[0]))
        ledger.struck()
        ledger.settle(seconds=60)
        left = len(ledger.open_entries())
        ledger.expect(not left, f"all jobs end within a minute, clock at {offset} s; {left} have not")


def jump_alone(stage: Stage, ledger: Ledger, clock: Clock) -> None:
    """The store is elsewhere, knows what time it is, and takes nothing that is signed with another: work waits."""
    stage.proxy.keys = None
    jobs = [ledger.submit(long(stage.random)).id, ledger.submit(small(stage.random)).id]
    clock.jump_to(HOUR)
    time.sleep(3)
    told = _ask(stage, ledger, "clock-alone")
    ledger.expect(told == "503", f"POST answers 503 where the store does not believe the clock, and not {told}")
    time.sleep(1 if stage.short else 20)
    clock.jump_to(0)
    ledger.struck()
    ledger.settle(seconds=60)
    states = {ledger.entries[job_id].last.state for job_id in jobs}
    ledger.expect(states == {State.SUCCEEDED}, f"jobs succeed once the clock is right again; they are {sorted(states)}")


def _ask(stage: Stage, ledger: Ledger, tag: str) -> str:
    try:
        ledger.submit(small(stage.random, tag))
    except ServiceError as error:
        return str(error.problem.status) if error.problem else str(error)
    return "202"


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """A disk without a free byte, for as long as the block lasts."""
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
