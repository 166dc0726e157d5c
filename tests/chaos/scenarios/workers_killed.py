"""Scenario 1: workers or their child processes are killed at random moments and while jobs save."""

import time
from collections.abc import Callable
from itertools import product

from archetype.client import ServiceError
from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import ARTIFACT, MANIFEST, explain, long, medium, paint, small
from tests.chaos.stage import WORKERS, Stage

Kill = Callable[[Stage, str], None]


def run(stage: Stage, ledger: Ledger) -> None:
    """Runs a job for each victim and moment, and a cancelled job whose worker is killed."""
    image = ledger.client.upload(paint(stage.random)).id
    ledger.submit(explain(stage.random, image))
    for victim, moment in choose_cases(short=stage.short):
        request = long if moment in {"random", "ascent"} else medium
        job = ledger.submit(request(stage.random))
        ledger.submit(small(stage.random))
        if strike(stage, ledger, job.id, victim, moment):
            ledger.begin_recovery()
            stage.start(*sorted(stage.down))
            ended = ledger.wait(job.id)
            ledger.expect(ended and ended.state is State.SUCCEEDED, f"the job succeeds after: {victim} at {moment}")
        else:
            ledger.notes.append(f"the moment was not observed: {victim} at {moment}")
    cancel_and_kill(stage, ledger)


def choose_cases(*, short: bool) -> list[tuple[str, str]]:
    """Returns pairs of victim and moment. `cancel_and_kill` covers a child killed during the optimization."""
    if short:
        return [("worker", "artifact"), ("child", "manifest"), ("both", "random")]
    return list(product(("child", "worker", "both"), ("random", "ascent", "artifact", "manifest"))) * 2


def strike(stage: Stage, ledger: Ledger, job_id: str, victim: str, moment: str) -> bool:
    """Kills the victim at a moment of a job; returns False if that moment was not observed."""

    def kill(_: object = None) -> None:
        owner = stage.find_owner(job_id)
        if victim == "child":
            stage.kill_child(owner)
        else:
            stage.kill(*(WORKERS if victim == "both" else (owner,)))

    if moment == "random":
        time.sleep(stage.random.uniform(0.1, 2.5))
    elif moment == "ascent":
        if not ledger.wait_for_step(job_id):
            return False
    else:
        pattern = {"artifact": ARTIFACT, "manifest": MANIFEST}[moment].format(id=job_id)
        with stage.proxy.on("PUT", pattern, "before" if moment == "artifact" else "after", kill) as hook:
            return hook.seen.wait(60)
    kill()
    return True


def cancel_and_kill(stage: Stage, ledger: Ledger) -> None:
    """Cancels a job and kills its worker; the job must end as cancelled."""
    job = ledger.submit(long(stage.random, steps=400))
    if not ledger.wait_for_step(job.id):
        return
    owner = stage.find_owner(job.id)
    stage.pause(owner)
    try:
        ledger.client.cancel(job.id)
    except ServiceError as error:
        ledger.expect(False, f"a cancellation is answered: {error}")
    stage.resume(owner)
    stage.kill_child(owner)
    ledger.begin_recovery()
    ended = ledger.wait(job.id)
    ledger.expect(
        ended and ended.state is State.CANCELLED, "a cancelled job ends as cancelled although its worker was killed"
    )
