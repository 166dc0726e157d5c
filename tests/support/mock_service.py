"""A service for unit tests of the client: answers from a table, without a network."""

from collections.abc import Callable
from typing import Any

import httpx2

from archetype.client import Client
from archetype.contract.job import Artifact, Job, Progress, State, now
from archetype.contract.problem import ProblemDocument

URL = "http://service.test"
JOB_ID = "01k9v0m2q7gq5n9w3t8yx4r6zs"

Answer = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


class MockService:
    """Answers each request with the next answer of its method and path; the last answer is repeated.

    Attributes:
        requests: Every request that was sent, oldest first.
    """

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def answer(self, method: str, path: str, *answers: Answer) -> None:
        """Set the answers to a method and a path."""
        self._answers[method, path] = list(answers)

    def client(self, **options: Any) -> Client:
        """Return a client of this service. Unless a test asks for it, failed requests are not repeated."""
        options = {"retry_seconds": 0} | options
        return Client(URL, transport=httpx2.MockTransport(self._handle), **options)

    def sent(self, method: str, path: str) -> list[httpx2.Request]:
        """Return the requests with a method and a path."""
        return [request for request in self.requests if (request.method, request.url.path) == (method, path)]

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answers = self._answers.get((request.method, request.url.path))
        if answers is None:
            return answer_problem(404, f"no answer to {request.method} {request.url.path}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)


def answer_json(value: object, status: int = 200) -> httpx2.Response:
    """An answer with a JSON document or a model."""
    text = value.model_dump_json() if hasattr(value, "model_dump_json") else None
    if text is not None:
        return httpx2.Response(status, content=text, headers={"Content-Type": "application/json"})
    return httpx2.Response(status, json=value)


def answer_problem(status: int, detail: str, **headers: str) -> httpx2.Response:
    """An answer with a problem document."""
    return httpx2.Response(status, content=make_problem(status, detail).model_dump_json(), headers=headers)


def make_problem(status: int, detail: str) -> ProblemDocument:
    """A problem document."""
    return ProblemDocument(type="/problems/test", title="Test", status=status, detail=detail)


def make_job(state: State = State.QUEUED, **fields: Any) -> Job:
    """A job of the method `class_model`."""
    known: dict[str, Any] = {"id": JOB_ID, "method": "class_model", "model": "shapes@1", "created_at": now()}
    return Job(**(known | {"state": state} | fields))


def make_artifact(name: str = "0000-lemon.png", media_type: str = "image/png", size: int = 3) -> Artifact:
    """An artifact of the job `JOB_ID`."""
    href = f"/v1/jobs/{JOB_ID}/artifacts/{name}"
    return Artifact(name=name, media_type=media_type, bytes=size, sha256="0" * 64, href=href)


def make_progress(done: int, total: int) -> Progress:
    """The progress of a job in steps."""
    return Progress(done=done, total=total)
