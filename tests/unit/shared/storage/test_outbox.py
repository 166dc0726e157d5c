"""Messages about finished jobs."""

from datetime import timedelta

from archetype.contract.job import State, now
from shared.storage.outbox import describe_end
from tests.support.jobs import make_spec


def test_a_message_names_the_job_its_state_and_its_address() -> None:
    spec = make_spec(tags=["night"], webhook="https://example.org/")
    finished = now()
    job = spec.job("j").model_copy(
        update={"state": State.SUCCEEDED, "finished_at": finished, "metrics": {"verdict": "passed"}}
    )
    message = describe_end(job, finished + timedelta(seconds=5))
    assert (message.id, message.event, message.url) == ("j", "job.succeeded", "https://example.org/")
    assert (message.created_at, message.begun_at) == (finished, finished + timedelta(seconds=5))
    assert message.data == {
        "id": "j",
        "state": "succeeded",
        "method": "class_model",
        "model": "shapes@1",
        "tags": ["night"],
        "href": "/v1/jobs/j",
    }


def test_a_message_about_an_audit_contains_its_verdict() -> None:
    metrics = {"verdict": "passed", "summary": "no findings", "classes": []}
    job = make_spec().job("j").model_copy(update={"state": State.SUCCEEDED, "method": "audit", "metrics": metrics})
    data = describe_end(job, now()).data
    assert (data["verdict"], data["summary"], "classes" in data) == ("passed", "no findings", False)
