"""Plays scenarios on a stage and writes a row about each."""

import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.client import ServiceError
from shared.jobs import State
from tests.chaos.ledger import Ledger, Row
from tests.chaos.requests import long
from tests.chaos.scenarios import (
    api_killed,
    audit_disturbed,
    bad_networks,
    messages,
    receiver_down,
    redis_lost,
    store_failing,
    worker_paused,
    workers_killed,
)
from tests.chaos.stage import Stage

SETTLE_SECONDS = 60.0
"""A generous limit for what is still open when a scenario is over, beside the waits of the scenario itself."""

CLEAN_SECONDS = 20.0
"""The time that the service has to tidy up behind the last job."""

Act = Callable[[Stage, Ledger], None]


@dataclass(frozen=True)
class Scenario:
    """Something to play."""

    number: int
    title: str
    act: Act


SCENARIOS = (
    Scenario(1, "workers killed", workers_killed.run),
    Scenario(2, "Redis restarted, cut short, wiped", redis_lost.run),
    Scenario(3, "store down, refusing, erring, slow", store_failing.run),
    Scenario(4, "API killed, requests repeated", api_killed.run),
    Scenario(5, "worker paused past its lease", worker_paused.run),
    Scenario(6, "messages twice, for nobody, unknown", messages.run),
)
"""Those that share a stage and need nothing else."""

WAITING = (
    Scenario(7, "networks that crash, hang, run out", bad_networks.run),
    Scenario(10, "receiver of webhooks down", receiver_down.run),
)
"""Mostly a matter of waiting: in the short form, they play beside the others."""

AUDIT = Scenario(11, "a release is audited meanwhile", audit_disturbed.run)

DISK_AND_CLOCK, STORM = (8, "disk full, clock jumped"), (9, "many clients, random faults")


def play(scenario: Scenario, stage: Stage) -> Row:
    """One scenario from its first job to the audit; the stage is whole again afterwards."""
    began = time.monotonic()
    stage.random.seed(f"{stage.seed} {scenario.number}")  # the same whatever was played before
    with Ledger(stage.stack.url) as ledger:
        try:
            scenario.act(stage, ledger)
        except Exception as error:  # a scenario that cannot go on is a row with a reason, and the next one is played
            place = traceback.extract_tb(error.__traceback__)[-1]
            ledger.expect(False, f"the scenario runs to its end, and not into {error!r} ({place.name}:{place.lineno})")
        stage.recover(ledger, seconds=SETTLE_SECONDS)
        expect_clean(stage, ledger)
        return ledger.audit(scenario.number, scenario.title, seconds=time.monotonic() - began)


def expect_clean(stage: Stage, ledger: Ledger) -> None:
    """Nothing is left half done, also of what was not accepted."""

    def list_left() -> list[str]:
        jobs = [job.id for state in (State.QUEUED, State.RUNNING) for job in ledger.client.jobs(state=state)]
        return jobs + stage.list_unfinished()

    try:
        ledger.wait_until(lambda: not list_left(), seconds=CLEAN_SECONDS)
        left = list_left()
    except ServiceError as error:
        ledger.expect(False, f"the service answers once all faults are over: {error}")
        return
    ledger.expect(not left, f"nothing is left unfinished; {len(left)} are, such as {left[:2]}")


def warm_up(stage: Stage) -> None:
    """Both workers have loaded the network and measured it, so that no scenario waits for that."""
    with Ledger(stage.stack.url) as ledger, ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: ledger.submit(long(stage.random, steps=40, bulk=True)), range(2)))
        for job in jobs:
            if ledger.wait(job.id, seconds=120) is None:
                raise RuntimeError(f"the stack did not do its first job; its logs are in {stage.folder}/log")
