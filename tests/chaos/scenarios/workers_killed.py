"""Scenario 1: workers are killed, in parts and whole, at random and at the worst moments."""

import time
from collections.abc import Callable
from itertools import product

from shared.client import ServiceError
from shared.jobs import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import ARTIFACT, MANIFEST, long, look, medium, paint, small
from tests.chaos.stage import WORKERS, Stage

Kill = Callable[[Stage, str], None]


def run(stage: Stage, ledger: Ledger) -> None:
    """A job per way to die and moment, and one that was to be cancelled when its worker died."""
    image = ledger.client.upload(paint(stage.random)).id
    ledger.submit(look(stage.random, image))
    for victim, moment in choose_cases(short=stage.short):
        request = long if moment in {"random", "ascent"} else medium
        job = ledger.submit(request(stage.random))
        ledger.submit(small(stage.random))
        if strike(stage, ledger, job.id, victim, moment):
            ledger.struck()
            stage.start(*sorted(stage.down))
            ended = ledger.wait(job.id)
            ledger.expect(ended and ended.state is State.SUCCEEDED, f"the job succeeds after: {victim} at {moment}")
        else:
            ledger.notes.append(f"the moment passed unseen: {victim} at {moment}")
    cancel_and_kill(stage, ledger)


def choose_cases(*, short: bool) -> list[tuple[str, str]]:
    """Who dies, and when. The one that is cancelled loses its child mid-ascent, also in the short form."""
    if short:
        return [("worker", "artefact"), ("child", "manifest"), ("both", "random")]
    return list(product(("child", "worker", "both"), ("random", "ascent", "artefact", "manifest"))) * 2


def strike(stage: Stage, ledger: Ledger, job_id: str, victim: str, moment: str) -> bool:
    """Kills at a moment of a job; False where that moment did not come."""

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
        pattern = {"artefact": ARTIFACT, "manifest": MANIFEST}[moment].format(id=job_id)
        with stage.proxy.on("PUT", pattern, "before" if moment == "artefact" else "after", kill) as hook:
            return hook.seen.wait(60)
    kill()
    return True


def cancel_and_kill(stage: Stage, ledger: Ledger) -> None:
    """Who asked for a job to be cancelled gets it cancelled, also where the worker dies of it."""
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
    ledger.struck()
    ended = ledger.wait(job.id)
    ledger.expect(ended and ended.state is State.CANCELLED, "a job that was to be cancelled ends so without its worker")
