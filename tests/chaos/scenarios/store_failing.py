"""Scenario 3: the object store is down, refuses, errs, dawdles and breaks off, at the worst moments."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from shared.client import ServiceError
from shared.jobs import State
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
    """In each case a job is about to write, another waits, and a client asks for a third."""
    for number, (names, moment, seconds) in enumerate(choose_cases(short=stage.short)):
        jobs = [ledger.submit(medium(stage.random)), ledger.submit(small(stage.random))]
        pattern = {"results": ARTIFACT, "manifest": MANIFEST}[moment].format(id=jobs[0].id)
        begun = threading.Event()
        with stage.proxy.on("PUT", pattern, "before", hold(begun)) as hook, ExitStack() as after:
            after.callback(begun.set)
            ledger.expect(hook.seen.wait(60), f"the job gets to its {moment}")
            for name in names:
                with stage.proxy.fault(FAULTS[name]):
                    begun.set()
                    ask_meanwhile(stage, ledger, f"case-{number}", name, seconds)
        ledger.struck()
        ledger.settle(seconds=60)
        states = {ledger.entries[job.id].last.state for job in jobs}
        told = f"jobs succeed, store {' and '.join(names)} at {moment}; they are {sorted(states)}"
        ledger.expect(states == {State.SUCCEEDED}, told)


def choose_cases(*, short: bool) -> Iterator[tuple[Sequence[str], str, float]]:
    """What the store does, one fault after another, when it begins, and for how many seconds each lasts."""
    if short:
        yield ["down"], "results", 6
        yield ["refusing writes with 503", "refusing writes with 403"], "manifest", 2
        yield ["breaking off", "slow", "erring"], "results", 2
        return
    for name in FAULTS:
        for moment in ("results", "manifest"):
            yield [name], moment, 30 if name == "down" else 12


def ask_meanwhile(stage: Stage, ledger: Ledger, tag: str, name: str, seconds: float) -> None:
    """A client that asks now is told 503 or is served; its request is not half accepted."""
    end = time.monotonic() + seconds
    try:
        ledger.submit(small(stage.random, tag))
    except ServiceError as error:
        status = error.problem.status if error.problem else None
        ledger.expect(status == 503, f"POST says 503 while the store is {name}, not {status}: {error}")
    time.sleep(max(0.0, end - time.monotonic()))
