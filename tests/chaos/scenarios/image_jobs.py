"""Scenario 12: workers are killed while jobs over many images run, each of several shards."""

from itertools import product

from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import explain_many, paint, small
from tests.chaos.scenarios.workers_killed import strike
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """Runs a job for each victim and moment; each must have every pair of image and target once."""
    images = [ledger.client.upload(paint(stage.random)).id for _ in range(9 if stage.short else 20)]
    for victim, moment in choose_cases(short=stage.short):
        job = ledger.submit(explain_many(stage.random, images))
        ledger.submit(small(stage.random))
        if strike(stage, ledger, job.id, victim, moment):
            ledger.begin_recovery()
            stage.start(*sorted(stage.down))
            ended = ledger.wait(job.id, seconds=180)
            ledger.expect(ended and ended.state is State.SUCCEEDED, f"the job succeeds after: {victim} at {moment}")
        else:
            ledger.notes.append(f"the moment was not observed: {victim} at {moment}")


def choose_cases(*, short: bool) -> list[tuple[str, str]]:
    """Returns pairs of victim and moment."""
    if short:
        return [("worker", "ascent")]
    return list(product(("child", "worker", "both"), ("ascent", "artifact", "manifest")))
