"""An audit is accepted once, however many processes are asked for it, and also if one of them stops in between."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest

from api.dependencies import Services, connect
from api.services import submit_audit as module
from api.services.submit_audit import submit_audit
from api.services.submit_job import IDEMPOTENCY_KEY
from archetype.client import Client
from archetype.contract.audit import NewAudit
from archetype.contract.job import Job, State
from archetype.contract.request import Audit
from deploy.local import Stack
from shared.errors import Unavailable
from shared.lifecycle.rebuild import load_spec
from shared.storage.api_keys import Caller
from tests.support.waiting import wait_until

SEEDS = count(9000, 10)


@pytest.fixture
def new() -> NewAudit:
    """An audit that no other test has submitted."""
    seed = next(SEEDS)
    plan = {
        "name": "once",
        "classes": ["lemon"],
        "seeds": [seed, seed + 1],
        "noise_seeds": [seed + 2, seed + 3],
        "baselines": ["shapes@1"],
        "subject_seeds": [seed, seed + 1],
        "class_models": {"steps": 2, "extras": False},
    }
    return NewAudit.model_validate({"model": "shapes", "plan": plan})


@pytest.fixture
def services(stack: Stack) -> Services:
    return connect(stack.settings)


def list_members(job: Job, services: Services) -> dict[str, str]:
    return Audit.model_validate(load_spec(services.storage, job.id).request).members


def list_jobs(client: Client) -> set[str]:
    """The ids of all jobs of the stack. Jobs of earlier tests may disappear from it meanwhile."""
    return {job.id for job in client.jobs()}


def test_processes_that_get_the_same_audit_at_the_same_time_accept_it_once(
    stack: Stack, new: NewAudit, client: Client
) -> None:
    processes = [connect(stack.settings) for _ in range(4)]
    barrier, before = Barrier(len(processes)), list_jobs(client)

    def submit(services: Services) -> Job:
        barrier.wait(30)
        return submit_audit(new, services, Caller())

    with ThreadPoolExecutor(len(processes)) as threads:
        jobs = list(threads.map(submit, processes))
    assert len({job.id for job in jobs}) == 1
    assert list_jobs(client) - before == {jobs[0].id, *list_members(jobs[0], processes[0]).values()}


def stop_after(jobs: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes a process stop after it has enqueued so many jobs of an audit. Returns a function that ends this."""
    enqueue, left = module.enqueue, iter(range(jobs))

    def enqueue_some(*arguments: object) -> Job:
        if next(left, None) is None:
            raise Unavailable("the process stops here")
        return enqueue(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "enqueue", enqueue_some)
    return lambda: monkeypatch.setattr(module, "enqueue", enqueue)


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_an_interrupted_audit_is_completed_with_the_same_jobs(
    services: Services, new: NewAudit, client: Client, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(module, "CONCURRENT_SECONDS", 0.1)
    before, resume = list_jobs(client), stop_after(jobs, monkeypatch)
    with pytest.raises(Unavailable):
        submit_audit(new, services, Caller())
    resume()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: submit_audit(new, services, Caller()), range(2))
    assert first.id == second.id == submit_audit(new, services, Caller()).id
    assert list_jobs(client) - before == {first.id, *list_members(first, services).values()}


def test_a_failed_audit_is_repeated_once_by_concurrent_requests(
    services: Services, new: NewAudit, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = new.model_copy(
        update={
            "plan": new.plan.model_copy(
                update={"class_models": new.plan.class_models.model_copy(update={"steps": 3000})}
            )
        }
    )
    first = submit_audit(endless, services, Caller())
    client.cancel_audit(first.id)
    wait_until(lambda: client.get_audit(first.id).state is State.CANCELLED)
    with ThreadPoolExecutor(3) as threads:
        repeated = {job.id for job in threads.map(lambda _: submit_audit(endless, services, Caller()), range(3))}
    assert len(repeated) == 1
    assert first.id not in repeated
    client.cancel_audit(repeated.pop())


def test_no_idempotency_key_of_a_client_has_the_name_of_an_internal_reservation(
    services: Services, new: NewAudit, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, reserve = [], module.reserve

    def note(tenant: str, name: str, proposed: str, services: Services) -> str:
        names.append(name)
        return reserve(tenant, name, proposed, services)

    monkeypatch.setattr(module, "reserve", note)
    submit_audit(new, services, Caller())
    assert len(names) >= 2
    assert not any(IDEMPOTENCY_KEY.fullmatch(name) for name in names)
