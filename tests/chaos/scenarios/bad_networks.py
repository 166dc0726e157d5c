"""Scenario 7: networks that kill their process, hang it, or eat its memory, and the jobs behind them."""

import time

from shared.jobs import State
from tests.chaos.ledger import Ledger
from tests.chaos.networks import BAD
from tests.chaos.requests import bad, small
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """A job for each of them, and others behind it."""
    began = time.monotonic()
    terrors = {name: ledger.submit(bad(name)).id for name in BAD}
    others = [ledger.submit(small(stage.random)).id for _ in range(3 if stage.short else 10)]
    for job_id in others:
        ended = ledger.wait(job_id, seconds=240)  # workers that die while they start may need several goes
        ledger.expect(ended and ended.state is State.SUCCEEDED, "jobs behind bad networks succeed")
    ledger.notes.append(f"the jobs behind them had ended after {time.monotonic() - began:.0f} s")
    for name, job_id in terrors.items():
        ended = ledger.wait(job_id, seconds=120)
        ledger.expect(ended and ended.state is State.FAILED, f"{name} fails")
        if ended is not None:
            detail = ended.error.detail if ended.error else ""
            ledger.notes.append(f"{name}: {ended.state} after {ended.attempt} attempts: {detail}")
            # Memory that runs out is an answer and not a loss: whoever says so at once is right, too.
            ledger.expect(ended.attempt == 3 or name == "oom", f"{name} fails after three attempts")
            ledger.expect(detail, f"{name} says why")
