"""Scenario 7: networks that crash, block or exhaust their process, and the jobs queued behind them."""

import time

from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.networks import BAD
from tests.chaos.requests import bad, small
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """Submits a job for each faulty network, and other jobs behind them."""
    began = time.monotonic()
    faulty = {name: ledger.submit(bad(name)).id for name in BAD}
    healthy = [ledger.submit(small(stage.random)).id for _ in range(3 if stage.short else 10)]
    for job_id in healthy:
        ended = ledger.wait(job_id, seconds=240)  # workers that die at their start may need several attempts
        ledger.expect(ended and ended.state is State.SUCCEEDED, "jobs behind faulty networks succeed")
    ledger.notes.append(f"the jobs behind them ended after {time.monotonic() - began:.0f} s")
    for name, job_id in faulty.items():
        ended = ledger.wait(job_id, seconds=120)
        ledger.expect(ended and ended.state is State.FAILED, f"{name} fails")
        if ended is not None:
            detail = ended.error.detail if ended.error else ""
            ledger.notes.append(f"{name}: {ended.state} after {ended.attempt} attempts: {detail}")
            # Out of memory is a result and not a lost worker, so the job may fail at the first attempt.
            lost = ended.attempt == stage.settings.max_attempts
            ledger.expect(lost or name == "oom", f"{name} fails after all attempts")
            ledger.expect(detail, f"{name} has an error message")
