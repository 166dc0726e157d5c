"""Scenario 16: the clock of one worker, which also sweeps, is a day ahead."""

from archetype.contract.job import State
from tests.chaos.clock import replaced_clock
from tests.chaos.ledger import Ledger
from tests.chaos.requests import explain, long, paint, small
from tests.chaos.stage import Stage

DAY = 86_400
AHEAD = "worker-2"


def run(stage: Stage, ledger: Ledger) -> None:
    """Runs jobs in both workers, and then kills the child of the other one: only lost shards are returned."""
    image = ledger.client.upload(paint(stage.random)).id
    before = ledger.submit(small(stage.random))
    ledger.wait(before.id)
    folder = stage.folder / "ahead"
    folder.mkdir(exist_ok=True)
    with replaced_clock(folder) as clock:
        if clock is None:
            ledger.notes.append("skipped, because there is no C compiler (cc)")
            return
        clock.jump_to(DAY)
        stage.proxy.keys = stage.settings  # the store would refuse the signatures of the worker
        stage.restart(AHEAD, stage.processes.envs[AHEAD] | clock.variables)
        for _ in range(1 if stage.short else 5):
            requests = (long(stage.random), small(stage.random), explain(stage.random, image))
            jobs = [ledger.submit(request).id for request in requests]
            ledger.wait_for_step(jobs[0])
            stage.kill_child("worker")
            ledger.begin_recovery()
            ends = [ledger.wait(job_id) for job_id in jobs]
            states = {ended.state if ended else None for ended in ends}
            ledger.expect(states == {State.SUCCEEDED}, f"no job is cancelled early; they are {states}")
        ended = ledger.refresh(before.id)
        ledger.expect(ended and ended.state is State.SUCCEEDED, "results do not expire early")
        clock.jump_to(0)
    stage.proxy.keys = None
