"""The list of scenarios, and the function that runs one and returns its result."""

import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from archetype.client import ServiceError
from archetype.contract.job import State
from tests.chaos.ledger import Ledger, Row
from tests.chaos.requests import long
from tests.chaos.scenarios import (
    api_killed,
    audit_disturbed,
    bad_networks,
    clock_ahead,
    image_jobs,
    messages,
    one_job_refused,
    receiver_down,
    redis_full,
    redis_lost,
    sender_outages,
    store_failing,
    two_versions,
    worker_paused,
    workers_killed,
)
from tests.chaos.stage import Stage

SETTLE_SECONDS = 180.0
"""Limit for jobs that are still open at the end of a scenario."""

CLEAN_SECONDS = 60.0
"""Time for the service to clean up after the last job."""

Act = Callable[[Stage, Ledger], None]


@dataclass(frozen=True)
class Scenario:
    """A scenario: its number, title and function."""

    number: int
    title: str
    act: Act


SCENARIOS = (
    Scenario(1, "workers killed", workers_killed.run),
    Scenario(2, "Redis restarted, cut short, wiped", redis_lost.run),
    Scenario(3, "store down, refusing, erring, slow", store_failing.run),
    Scenario(4, "API killed, requests repeated", api_killed.run),
    Scenario(5, "worker paused past its lease", worker_paused.run),
    Scenario(6, "messages duplicated, unknown, invalid", messages.run),
    Scenario(12, "image jobs, workers killed", image_jobs.run),
    Scenario(16, "clock of a sweeper a day ahead", clock_ahead.run),
    Scenario(17, "memory of Redis full", redis_full.run),
)
"""Scenarios that share a stage."""

WAITING = (
    Scenario(7, "networks that crash, hang, run out of memory", bad_networks.run),
    Scenario(10, "receiver of webhooks down", receiver_down.run),
    Scenario(13, "store refusing the objects of single jobs", one_job_refused.run),
    Scenario(14, "webhooks while Redis and the store are away", sender_outages.run),
    Scenario(15, "older and newer workers side by side", two_versions.run),
)
"""Scenarios that mostly wait. In the short form, they run in parallel with the others."""

AUDIT = Scenario(11, "faults during an audit", audit_disturbed.run)

DISK_AND_CLOCK, STORM = (8, "disk full, clock jumped"), (9, "many clients, random faults")


def play(scenario: Scenario, stage: Stage) -> Row:
    """Runs a scenario and checks its jobs. Afterwards, all processes of the stage run again."""
    began = time.monotonic()
    stage.random.seed(f"{stage.seed} {scenario.number}")  # independent of earlier scenarios
    with Ledger(stage.stack.url) as ledger:
        try:
            scenario.act(stage, ledger)
        except Exception as error:  # the error becomes the result, and the next scenario runs
            place = traceback.extract_tb(error.__traceback__)[-1]
            ledger.expect(False, f"the scenario runs to its end; instead: {error!r} ({place.name}:{place.lineno})")
        stage.recover(ledger, seconds=SETTLE_SECONDS)
        expect_clean(stage, ledger)
        return ledger.audit(scenario.number, scenario.title, seconds=time.monotonic() - began)


def expect_clean(stage: Stage, ledger: Ledger) -> None:
    """Expects that no job is unfinished, including requests that were not accepted."""

    def list_unfinished() -> list[str]:
        jobs = [job.id for state in (State.QUEUED, State.RUNNING) for job in ledger.client.jobs(state=state)]
        return jobs + stage.list_unfinished()

    try:
        ledger.wait_until(lambda: not list_unfinished(), seconds=CLEAN_SECONDS)
        unfinished = list_unfinished()
    except ServiceError as error:
        ledger.expect(False, f"the service answers after the end of all faults: {error}")
        return
    ledger.expect(not unfinished, f"no job is unfinished; {len(unfinished)} are, such as {unfinished[:2]}")


def warm_up(stage: Stage) -> None:
    """Lets both workers load the network and measure its plan, so that no scenario waits for that."""
    with Ledger(stage.stack.url) as ledger, ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: ledger.submit(long(stage.random, steps=40, bulk=True)), range(2)))
        for job in jobs:
            if ledger.wait(job.id, seconds=400) is None:
                raise RuntimeError(f"the first job did not end; the logs of the stack are in {stage.folder}/log")
