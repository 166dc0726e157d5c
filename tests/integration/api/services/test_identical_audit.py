"""An audit of identical releases ends when it is submitted, with a complete report and without a job."""

from itertools import count
from typing import Any

import pytest

from api.dependencies import Services, connect
from api.services.submit_audit import submit_audit
from archetype.client import Client
from archetype.contract.audit import NewAudit
from archetype.contract.job import State
from archetype.contract.report.document import Report
from deploy.local import Stack
from shared.errors import Unavailable
from shared.lifecycle.end_at_once import ImmediateEnd
from shared.storage.api_keys import Caller

SEEDS = count(9900, 10)


@pytest.fixture
def new() -> NewAudit:
    seed = next(SEEDS)
    plan = {"name": "same", "classes": ["lemon"], "seeds": [seed, seed + 1], "baselines": ["shapes@1"]}
    return NewAudit.model_validate({"model": "shapes", "plan": plan})


@pytest.fixture
def services(stack: Stack) -> Services:
    return connect(stack.settings)


def test_an_audit_of_identical_releases_is_answered_with_its_report(client: Client, new: NewAudit) -> None:
    before = {job.id for job in client.jobs()}
    audit = client.audit(new)
    assert (audit.state, audit.verdict, audit.members) == (State.SUCCEEDED, "pass", [])
    assert {job.id for job in client.jobs()} - before == {audit.id}
    assert (audit.progress.done, audit.progress.total) == (1, 1)
    files = {artifact.name: client.fetch(artifact) for artifact in audit.artifacts}
    assert set(files) == {"report.json", "report.html", "junit.xml", "report.sarif", "summary.md"}
    report = Report.model_validate_json(files["report.json"])
    assert report.comparisons[0].identical
    assert report.not_run
    assert client.report(audit.id) == files["report.html"].decode()
    assert client.audit(new).id == audit.id


def test_the_end_of_such_an_audit_is_an_event_and_counts_its_files(
    client: Client, new: NewAudit, services: Services
) -> None:
    stored = services.job_index.usage("default").stored
    audit = client.audit(new)
    assert services.job_index.usage("default").stored - stored == sum(file.bytes for file in audit.artifacts)
    *_, last = client.watch_audit(audit.id, timeout=10)
    assert last.state is State.SUCCEEDED
    with services.redis_client.connection() as redis:
        ((_, event),) = redis.xrevrange("archetype:events:default", count=1)
    assert (event["event"], event["job"]) == ("job.succeeded", audit.id)


def test_an_audit_whose_process_stopped_before_its_report_was_stored_is_completed_by_a_worker(
    client: Client, new: NewAudit, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def stop(end: ImmediateEnd, job_id: str, spec: Any, *_rest: object) -> None:
        end.storage.save_spec(job_id, spec)
        started.append(job_id)
        raise Unavailable("the process stops here")

    monkeypatch.setattr(ImmediateEnd, "end", stop)
    with pytest.raises(Unavailable):
        submit_audit(new, services, Caller())
    *_, audit = client.watch_audit(started[0], timeout=400)
    assert (audit.error, audit.verdict, audit.findings) == (None, "pass", [])
    assert "identical" in (audit.summary or "")
    report = Report.model_validate_json(
        client.fetch(next(artifact for artifact in audit.artifacts if artifact.name == "report.json"))
    )
    assert report.comparisons[0].identical
    assert report.errors == []
    assert report.not_run
