"""Scenario 5: a worker is paused for longer than its lease; when it resumes, it must not change anything."""

import threading
import time

from archetype.client import ServiceError
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import HOLD_SECONDS, Exchange
from tests.chaos.requests import ARTIFACT, MANIFEST, long, medium
from tests.chaos.stage import Stage

ZOMBIE_SECONDS = 1.5
"""How long the resumed worker runs before the results are compared."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Pauses a worker during the optimization, before a result and before the manifest."""
    for moment in ("ascent", "manifest") if stage.short else ("ascent", "results", "manifest") * 3:
        pause(stage, ledger, moment)


def pause(stage: Stage, ledger: Ledger, moment: str) -> None:
    """Pauses the worker of a job until another worker has finished the job, then resumes it."""
    job = ledger.submit(long(stage.random, steps=80) if moment == "ascent" else medium(stage.random))
    over = threading.Event()
    owner = _pause_at_step(stage, ledger, job.id) if moment == "ascent" else None
    pattern = {"ascent": "never", "results": ARTIFACT, "manifest": MANIFEST}[moment].format(id=job.id)

    def freeze(_: Exchange) -> None:
        stage.pause(stage.find_owner(job.id))
        over.wait(HOLD_SECONDS)

    try:
        with stage.proxy.on("PUT", pattern, "before", freeze) as hook:
            if moment != "ascent":
                ledger.expect(hook.seen.wait(60), f"the job gets to its {moment}")
                time.sleep(0.2)
                owner = stage.find_owner(job.id)
            ledger.begin_recovery()
            ended = ledger.wait(job.id)
            ledger.expect(ended and ended.state == "succeeded", f"another worker finishes the job, paused at {moment}")
            before = _read_all(ledger, job.id)
            over.set()
            if owner is not None:
                stage.resume(owner)
            time.sleep(ZOMBIE_SECONDS)
            ledger.expect(
                before == _read_all(ledger, job.id), f"the resumed worker changes nothing, paused at {moment}"
            )
    finally:
        over.set()
        if owner is not None:
            stage.resume(owner)


def _pause_at_step(stage: Stage, ledger: Ledger, job_id: str) -> str:
    ledger.expect(ledger.wait_for_step(job_id), "the job gets to its first step")
    owner = stage.find_owner(job_id)
    stage.pause(owner)
    return owner


def _read_all(ledger: Ledger, job_id: str) -> object:
    """Returns the document and the artifacts of a job."""
    try:
        job = ledger.client.job(job_id)
        return job.model_dump(mode="json"), [ledger.client.fetch(artifact) for artifact in job.artifacts]
    except ServiceError as error:
        return str(error)
