"""Scenario 3: the object store is down, refuses writes, fails, is slow or resets connections while jobs save."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from archetype.client import ServiceError
from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import WRITES, Fault, hold
from tests.chaos.requests import ARTIFACT, MANIFEST, medium, small
from tests.chaos.stage import Stage

FAULTS = {
    "down": Fault(drop=True),
    "refusing writes with 503": Fault(methods=WRITES, status=503),
    "refusing writes with 403": Fault(methods=WRITES, status=403),
    "erring": Fault(status=500),
    "slow": Fault(delay=0.8),
    "breaking off": Fault(cut=True),
}


def run(stage: Stage, ledger: Ledger) -> None:
    """In each case, one job is about to write, another is queued, and a client submits a third."""
    for number, (names, moment, seconds) in enumerate(choose_cases(short=stage.short)):
        jobs = [ledger.submit(medium(stage.random)), ledger.submit(small(stage.random))]
        pattern = {"results": ARTIFACT, "manifest": MANIFEST}[moment].format(id=jobs[0].id)
        has_begun = threading.Event()
        with stage.proxy.on("PUT", pattern, "before", hold(has_begun)) as hook, ExitStack() as after:
            after.callback(has_begun.set)
            ledger.expect(hook.seen.wait(60), f"the job gets to its {moment}")
            for name in names:
                with stage.proxy.fault(FAULTS[name]):
                    has_begun.set()
                    submit_during_fault(stage, ledger, f"case-{number}", name, seconds)
        ledger.begin_recovery()
        ledger.settle(seconds=60)
        states = {ledger.entries[job.id].last.state for job in jobs}
        sentence = f"jobs succeed, store {' and '.join(names)} at {moment}; they are {sorted(states)}"
        ledger.expect(states == {State.SUCCEEDED}, sentence)


def choose_cases(*, short: bool) -> Iterator[tuple[Sequence[str], str, float]]:
    """Yields cases: the faults in order, the moment at which they begin, and the duration of each in seconds."""
    if short:
        yield ["down"], "results", 6
        yield ["refusing writes with 503", "refusing writes with 403"], "manifest", 2
        yield ["breaking off", "slow", "erring"], "results", 2
        return
    for name in FAULTS:
        for moment in ("results", "manifest"):
            yield [name], moment, 30 if name == "down" else 12


def submit_during_fault(stage: Stage, ledger: Ledger, tag: str, name: str, seconds: float) -> None:
    """Submits a request during a fault: it is accepted or answered with 503."""
    end = time.monotonic() + seconds
    try:
        ledger.submit(small(stage.random, tag))
    except ServiceError as error:
        status = error.problem.status if error.problem else None
        ledger.expect(status == 503, f"POST answers 503 while the store is {name}, not {status}: {error}")
    time.sleep(max(0.0, end - time.monotonic()))
