"""Scenario 13: the store refuses the objects of single jobs, which fail with the reason and delay no other job."""

from archetype.contract.job import State
from archetype.contract.request import AnyRequest
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import WRITES, Fault
from tests.chaos.requests import explain_many, long, paint, small
from tests.chaos.stage import Stage

FAIL_SECONDS = 120.0
"""Longer than the pauses between all attempts."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Refuses first the writes and then all requests for one job of each kind, while others run."""
    images = [ledger.client.upload(paint(stage.random)).id for _ in range(9)]
    for methods in [WRITES] if stage.short else [WRITES, ".*"]:
        for request in (long(stage.random, steps=40), explain_many(stage.random, images)):
            refuse(stage, ledger, request, methods)
        if stage.short:
            return


def refuse(stage: Stage, ledger: Ledger, request: AnyRequest, methods: str) -> None:
    """Refuses the objects of one job; jobs behind it must not wait for its end."""
    job = ledger.submit(request)
    with stage.proxy.fault(Fault(methods=methods, keys=f"jobs/{job.id}/.*", status=403)):
        others = [ledger.submit(small(stage.random)).id for _ in range(3 if stage.short else 10)]
        for other in others:
            ended = ledger.wait(other)
            ledger.expect(ended and ended.state is State.SUCCEEDED, "jobs behind it succeed")
        ledger.expect(ledger.refresh(job.id), "the job that is refused can be read")
        ended = ledger.wait(job.id, seconds=FAIL_SECONDS)
        reason = ended.error.type if ended is not None and ended.error is not None else "none"
        ledger.expect(reason.endswith("refused-by-store"), f"the job fails with refused-by-store, not {reason}")
