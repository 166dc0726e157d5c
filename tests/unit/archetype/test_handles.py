"""Handles of jobs: waiting, typed failures, files, and the card in a notebook."""

from pathlib import Path

import httpx2
import pytest

from archetype import Client, JobHandle
from archetype.contract.job import State
from archetype.errors import Conflict, JobCancelled, JobFailed
from tests.support.mock_service import (
    JOB_ID,
    MockService,
    answer_json,
    make_artifact,
    make_job,
    make_problem,
    make_progress,
)

JOB = f"/v1/jobs/{JOB_ID}"
LEMON = make_artifact()


@pytest.fixture
def service() -> MockService:
    service = MockService()
    service.answer("GET", f"{JOB}/artifacts/{LEMON.name}", httpx2.Response(200, content=b"png"))
    return service


@pytest.fixture
def client(service: MockService) -> Client:
    return service.client()


def test_waiting_updates_the_handle_and_returns_it(service: MockService, client: Client) -> None:
    done = make_job(State.SUCCEEDED, artifacts=[LEMON], metrics={"probability": 0.9}, progress=make_progress(8, 8))
    service.answer("GET", JOB, answer_json(make_job(State.RUNNING)), answer_json(done))
    handle = JobHandle(client, make_job())
    assert handle.wait(timeout=5) is handle
    assert (handle.id, handle.state, handle.error) == (JOB_ID, State.SUCCEEDED, None)
    assert (handle.artifacts, handle.metrics, handle.progress.done) == ([LEMON], {"probability": 0.9}, 8)
    assert repr(handle) == f"<JobHandle {JOB_ID}: class_model of shapes@1, succeeded>"


def test_watching_yields_every_state(service: MockService, client: Client) -> None:
    answers = [answer_json(make_job(state)) for state in (State.QUEUED, State.RUNNING, State.SUCCEEDED)]
    service.answer("GET", JOB, *answers)
    handle = client.handle(JOB_ID)
    for job in handle.watch(timeout=5):
        assert handle.job is job
    assert handle.state is State.SUCCEEDED


@pytest.mark.parametrize(("state", "kind"), [(State.FAILED, JobFailed), (State.CANCELLED, JobCancelled)])
def test_an_unsuccessful_job_raises_its_problem_unless_told_not_to(
    service: MockService, client: Client, tmp_path: Path, state: State, kind: type[JobFailed | JobCancelled]
) -> None:
    problem = make_problem(500, "the gradient is zero") if state is State.FAILED else None
    service.answer("GET", JOB, answer_json(make_job(state, error=problem)))
    with pytest.raises(kind, match="the gradient is zero" if problem else "was cancelled") as failed:
        client.handle(JOB_ID).wait()
    assert (failed.value.problem, failed.value.job.state) == (problem, state)
    assert client.handle(JOB_ID).wait(raise_on_failure=False).state is state
    with pytest.raises(kind):
        client.handle(JOB_ID).save(tmp_path)


def test_a_job_that_has_not_ended_has_nothing_to_save(service: MockService, client: Client, tmp_path: Path) -> None:
    service.answer("GET", JOB, answer_json(make_job(State.RUNNING)))
    with pytest.raises(Conflict, match=r"call wait\(\) first"):
        client.handle(JOB_ID).save(tmp_path)


def test_a_job_that_has_ended_meanwhile_is_saved(service: MockService, client: Client, tmp_path: Path) -> None:
    service.answer("GET", JOB, answer_json(make_job(State.SUCCEEDED, artifacts=[LEMON])))
    (path,) = JobHandle(client, make_job(State.RUNNING)).save(str(tmp_path))
    assert path.read_bytes() == b"png"


def test_cancelling_updates_the_handle(service: MockService, client: Client) -> None:
    service.answer("POST", f"{JOB}/cancel", answer_json(make_job(State.CANCELLED), 202))
    assert JobHandle(client, make_job()).cancel().state is State.CANCELLED


def test_the_card_of_a_running_job_shows_news_without_images(service: MockService, client: Client) -> None:
    service.answer("GET", JOB, answer_json(make_job(State.RUNNING, progress=make_progress(3, 8))))
    card = JobHandle(client, make_job())._repr_html_()
    assert "running" in card
    assert "<progress value='3' max='8'>" in card
    assert "<img" not in card


def test_the_card_of_a_succeeded_job_shows_its_images_which_are_fetched_once(
    service: MockService, client: Client
) -> None:
    handle = JobHandle(client, make_job(State.SUCCEEDED, artifacts=[LEMON]))
    for _ in range(2):
        assert "<img src='data:image/png;base64,cG5n'" in handle._repr_html_()
    assert len(service.requests) == 1


def test_the_card_is_shown_without_the_service(service: MockService, client: Client) -> None:
    service.answer("GET", f"{JOB}/artifacts/{LEMON.name}", httpx2.ConnectError("down"))
    handles = JobHandle(client, make_job()), JobHandle(client, make_job(State.SUCCEEDED, artifacts=[LEMON]))
    client_closed = JobHandle(client, make_job(State.SUCCEEDED, artifacts=[LEMON]))
    assert [handle._repr_html_().count("<img") for handle in handles] == [0, 0]
    client.close()
    assert "succeeded" in client_closed._repr_html_()
