"""Scenario 17: the memory of Redis is full: running jobs end, new ones are refused, and ended ones can be deleted."""

from archetype.client import ServiceError
from archetype.contract.job import State
from archetype.contract.request import AnyRequest
from tests.chaos.ledger import Ledger
from tests.chaos.requests import explain_many, long, paint, small
from tests.chaos.stage import WORKERS, Stage
from tests.support.redis_servers import filled

REFUSED = {429, 503, 507}


def run(stage: Stage, ledger: Ledger) -> None:
    """Fills Redis while jobs run and wait; in every second round, a worker is lost meanwhile."""
    images = [ledger.client.upload(paint(stage.random)).id for _ in range(9)]
    for number in range(1 if stage.short else 4):
        requests: list[AnyRequest] = [long(stage.random), explain_many(stage.random, images)]
        requests += [small(stage.random) for _ in range(3)]
        jobs = [ledger.submit(request).id for request in requests]
        deleted = ledger.client.submit(small(stage.random))
        ledger.client.wait(deleted.id, timeout=400)
        running = next((job_id for job_id in jobs[:2] if ledger.wait_for_step(job_id)), None)
        with filled(stage.settings.redis_url):
            ledger.begin_recovery()
            expect_refusal(stage, ledger, f"full-{number}")
            delete(ledger, deleted.id)
            if number % 2:
                stage.kill_child(stage.random.choice(WORKERS))
            elif running is not None:
                ended = ledger.wait(running, seconds=120)
                ledger.expect(ended and ended.state is State.SUCCEEDED, "a job that runs ends in a full Redis")
        after = ledger.insist(small(stage.random), key=f"after-full-{number}")
        ledger.settle(seconds=120)
        states = {ledger.entries[job_id].last.state for job_id in (*jobs, after.id)}
        ledger.expect(states == {State.SUCCEEDED}, f"all jobs succeed when there is room; they are {sorted(states)}")


def expect_refusal(stage: Stage, ledger: Ledger, tag: str) -> None:
    try:
        ledger.submit(small(stage.random, tag))
        ledger.expect(False, "a POST is refused while Redis is full")
    except ServiceError as error:
        status = error.problem.status if error.problem else None
        ledger.expect(status in REFUSED, f"a POST is refused with the reason while Redis is full; instead: {error}")


def delete(ledger: Ledger, job_id: str) -> None:
    try:
        ledger.client.delete(job_id)
    except ServiceError as error:
        ledger.expect(False, f"an ended job can be deleted while Redis is full: {error}")
