"""Scenario 2: Redis is restarted, loses the end of its append-only file, or loses all data."""

from collections.abc import Callable

from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import explain, long, medium, paint, small
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """Applies each fault while there are ended, running and queued jobs."""
    image = ledger.client.upload(paint(stage.random)).id
    for name, fault in list_faults(stage):
        before = ledger.submit(small(stage.random))
        ledger.wait(before.id)
        requests = (long(stage.random), medium(stage.random), small(stage.random), explain(stage.random, image))
        jobs = [ledger.submit(request) for request in requests]
        ledger.wait_for_step(jobs[0].id)
        fault()
        ledger.begin_recovery()
        ended = ledger.refresh(before.id)
        ledger.expect(ended and ended.state.terminal, f"an ended job is available at once after: {name}")
        ledger.settle(seconds=60)
        states = {entry.last.state for entry in map(ledger.entries.__getitem__, (job.id for job in jobs))}
        ledger.expect(states == {State.SUCCEEDED}, f"all jobs succeed after: {name}; they are {sorted(states)}")


def list_faults(stage: Stage) -> list[tuple[str, Callable[[], None]]]:
    """Returns the faults with their names."""
    cuts = [stage.random.randint(200, 900)] if stage.short else [100, 500, 2_000, 10_000, 50_000]
    faults: list[tuple[str, Callable[[], None]]] = [("a restart", stage.restart_redis)]
    faults += [(f"a loss of {cut} bytes", lambda cut=cut: stage.cut_redis(cut)) for cut in cuts]  # type: ignore[misc]
    return faults + [("FLUSHALL", stage.wipe_redis)] * (1 if stage.short else 3)
