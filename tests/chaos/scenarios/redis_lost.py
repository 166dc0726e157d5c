"""Scenario 2: Redis is restarted, loses the end of what it wrote, or all of it."""

from collections.abc import Callable

from shared.jobs import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, look, medium, paint, small
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """Each time with jobs that have ended, that run and that wait."""
    image = ledger.client.upload(paint(stage.random)).id
    for name, fault in list_faults(stage):
        before = ledger.submit(small(stage.random))
        ledger.wait(before.id)
        asked = (long(stage.random), medium(stage.random), small(stage.random), look(stage.random, image))
        jobs = [ledger.submit(request) for request in asked]
        ledger.wait_for_step(jobs[0].id)
        fault()
        ledger.struck()
        found = ledger.look(before.id)
        ledger.expect(found and found.state.terminal, f"a job that has ended is answered at once after: {name}")
        ledger.settle(seconds=60)
        states = {entry.last.state for entry in map(ledger.entries.__getitem__, (job.id for job in jobs))}
        ledger.expect(states == {State.SUCCEEDED}, f"all jobs succeed after: {name}; they are {sorted(states)}")


def list_faults(stage: Stage) -> list[tuple[str, Callable[[], None]]]:
    """What is done to Redis, in words and in deed."""
    cuts = [stage.random.randint(200, 900)] if stage.short else [100, 500, 2_000, 10_000, 50_000]
    faults: list[tuple[str, Callable[[], None]]] = [("a restart", stage.restart_redis)]
    faults += [(f"a loss of {cut} bytes", lambda cut=cut: stage.cut_redis(cut)) for cut in cuts]  # type: ignore[misc]
    return faults + [("FLUSHALL", stage.wipe_redis)] * (1 if stage.short else 3)
