"""Scenario 4: the API is killed after it has stored a request, and clients repeat requests at every point."""

from concurrent.futures import ThreadPoolExecutor

from archetype.client import ServiceError
from archetype.contract.job import Job
from archetype.contract.request import AnyRequest
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import Exchange, Fault, drop
from tests.chaos.requests import REQUEST, medium, small
from tests.chaos.stage import Stage


def run(stage: Stage, ledger: Ledger) -> None:
    """Uses one idempotency key per case; each key must give exactly one job."""
    for number in range(1 if stage.short else 5):
        kill_after_storing(stage, ledger, f"stored-{number}")
        kill_without_key(stage, ledger, f"keyless-{number}")
        repeat_everywhere(stage, ledger, f"repeated-{number}")
        ask_at_once(stage, ledger, f"at-once-{number}")


def kill_after_storing(stage: Stage, ledger: Ledger, key: str) -> None:
    """Kills the API when the request is stored, but not yet answered or enqueued."""
    request = small(stage.random, key)
    _kill_at_put(stage, ledger, request, key)
    job = ledger.insist(request, key=key)
    ledger.begin_recovery()
    expect_one(stage, ledger, key, {job.id})


def kill_without_key(stage: Stage, ledger: Ledger, tag: str) -> None:
    """The same without an idempotency key: the stored request becomes a job that ends, or no job."""
    _kill_at_put(stage, ledger, small(stage.random, tag), None)


def _kill_at_put(stage: Stage, ledger: Ledger, request: AnyRequest, key: str | None) -> None:
    def kill(exchange: Exchange) -> None:
        stage.kill("api")
        drop(exchange)

    with stage.proxy.on("PUT", REQUEST, "after", kill) as hook:
        try:
            ledger.submit(request, key=key)
            ledger.expect(False, "a POST whose API was killed is not answered")
        except ServiceError:
            pass
        ledger.expect(hook.seen.is_set(), "the API stores the request before it answers")
    stage.start(*sorted(stage.down))


def repeat_everywhere(stage: Stage, ledger: Ledger, key: str) -> None:
    """Repeats a request before and after it is stored, while its job runs, after it, and after Redis was wiped."""
    request = medium(stage.random, key)
    with stage.proxy.fault(Fault(methods="PUT", keys=REQUEST, status=503)):
        try:
            ledger.submit(request, key=key)
            ledger.expect(False, "a POST whose request cannot be stored is not accepted")
        except ServiceError as error:
            ledger.expect(error.problem and error.problem.status == 503, f"it answers 503; instead: {error}")
    first = ledger.insist(request, key=key)
    jobs: dict[str, Job] = {"at once": ledger.insist(request, key=key)}
    ledger.wait_for_step(first.id)
    jobs["while it runs"] = ledger.insist(request, key=key)
    stage.wipe_redis()
    ledger.begin_recovery()
    jobs["after Redis was wiped"] = ledger.insist(request, key=key)
    ledger.wait(first.id)
    jobs["after it ended"] = ledger.insist(request, key=key)
    stage.wipe_redis()
    jobs["after it ended and Redis was wiped"] = ledger.insist(request, key=key)
    for moment, job in jobs.items():
        ledger.expect(job.id == first.id, f"a repeated key gives the same job {moment}")
    expect_one(stage, ledger, key, {first.id})


def ask_at_once(stage: Stage, ledger: Ledger, key: str) -> None:
    """Sends several requests with the same key in parallel."""
    request = small(stage.random, key)
    with ThreadPoolExecutor(6) as pool:
        jobs = list(pool.map(lambda _: ledger.insist(request, key=key), range(6)))
    expect_one(stage, ledger, key, {job.id for job in jobs})


def expect_one(stage: Stage, ledger: Ledger, key: str, ids: set[str]) -> None:
    """Expects that a key has one job in the responses, in the list and in the store."""
    ledger.expect(len(ids) == 1, f"one key is one job; {key} was answered with {sorted(ids)}")
    stored = stage.list_requests(key)
    ledger.expect(stored == sorted(ids), f"one key is one job; the store has {len(stored)} for {key}")

    def is_listed_once() -> bool:
        return [job.id for job in ledger.client.jobs(tag=key)] == sorted(ids)

    ledger.expect(ledger.wait_until(is_listed_once, seconds=15), f"the job of {key} is listed once")
