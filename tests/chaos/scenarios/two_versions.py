"""Scenario 15: older and newer workers run side by side, and workers of both versions are killed."""

from collections.abc import Callable

from archetype.contract.job import Job, State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import Stage
from tests.support.newer_version import NEWER_WORKER, copy_newer, post, run_newer_api, run_newer_worker

PROMPT_SECONDS = 20.0
"""Within this time, a newer worker begins and ends a small job that it alone can read."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Submits jobs that both versions can run, and jobs that only the newer one can, and kills workers of each."""
    code = stage.folder / "newer"
    if not code.exists():
        copy_newer(code)
    try:
        with run_newer_api(stage.stack, code) as url, run_newer_worker(stage.stack, code):
            mix(stage, ledger, url)
    finally:
        stage.down.discard(NEWER_WORKER)


def mix(stage: Stage, ledger: Ledger, url: str) -> None:
    """Submits jobs of both versions before each kill."""
    first = submit_novel(stage, ledger, url)
    ledger.expect(ledger.wait(first.id, seconds=120), "a newer worker runs what the older ones cannot read")
    for fault in list_faults(stage) * (1 if stage.short else 3):
        jobs = [ledger.submit(long(stage.random)).id, *(submit_novel(stage, ledger, url).id for _ in range(2))]
        ledger.wait_for_step(jobs[0])
        fault()
        ledger.begin_recovery()
        stage.start(*sorted(stage.down))
        ends = [ledger.wait(job_id) for job_id in jobs]
        states = {ended.state if ended else None for ended in ends}
        ledger.expect(states == {State.SUCCEEDED}, f"jobs of both versions succeed; they are {states}")
        attempts = max((ended.attempt for ended in ends if ended), default=0)
        ledger.expect(attempts <= 2, f"a look of an older worker is no attempt; a job has had {attempts}")
    ended = ledger.wait(submit_novel(stage, ledger, url).id, seconds=PROMPT_SECONDS)
    ledger.expect(ended, f"a newer job ends within {PROMPT_SECONDS:.0f} s while older workers are idle")


def submit_novel(stage: Stage, ledger: Ledger, url: str) -> Job:
    """Submits a job with a parameter that only the newer version knows."""
    request = small(stage.random)
    body = request.model_dump(mode="json", exclude_none=True)
    body["params"] |= {"novelty": 1}
    job = Job.model_validate(post(url, body).raise_for_status().json())
    ledger.follow(job, request)
    return job


def list_faults(stage: Stage) -> list[Callable[[], None]]:
    """Kills of a worker of each version, and the loss of all that Redis has."""
    kill_newer = [lambda: stage.kill(NEWER_WORKER)]
    if stage.short:
        return kill_newer
    return [*kill_newer, lambda: stage.kill("worker"), lambda: stage.kill("worker", NEWER_WORKER), stage.wipe_redis]
