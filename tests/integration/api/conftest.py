"""Clients of the running stack: without a key, of tenants, and of the operator; and jobs that are cancelled again."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.api_key import Scope
from deploy.local import Stack
from tests.support.api_requests import Submit
from tests.support.audit_plans import write_plan
from tests.support.callers import issue_token
from tests.support.receiver import Receiver


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.url, timeout=30) as connected:
        yield connected


@pytest.fixture
def submit(http: httpx2.Client) -> Iterator[Submit]:
    """Submits jobs, and cancels those that have not ended."""
    ids: list[str] = []

    def send(body: dict[str, Any], **headers: str) -> httpx2.Response:
        response = http.post(
            "/v1/jobs", json=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        if response.status_code == 202:
            ids.append(response.json()["id"])
        return response

    yield send
    for job_id in ids:
        http.post(f"/v1/jobs/{job_id}/cancel")


@pytest.fixture(scope="module")
def operator(stack: Stack) -> Iterator[Client]:
    """A client with the token of the operator."""
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as client:
        yield client


@pytest.fixture(scope="module")
def alice(stack: Stack, operator: Client) -> Iterator[Client]:
    """A client of a tenant that owns things."""
    with Client(stack.url, key=issue_token(operator, "alice", scopes=list(Scope))) as client:
        yield client


@pytest.fixture(scope="module")
def mallory(stack: Stack, operator: Client) -> Iterator[httpx2.Client]:
    """A client of another tenant, which tries to use them."""
    headers = {"Authorization": f"Bearer {issue_token(operator, 'mallory', scopes=list(Scope))}"}
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=30) as connected:
        yield connected


@pytest.fixture(scope="module")
def plan(client: Client) -> dict[str, Any]:
    """An audit plan for schedules: fast, without baselines and probes."""
    return write_plan(client, name="scheduled", baselines=[], probes=[])


@pytest.fixture
def registry(stack: Stack) -> Iterator[Receiver]:
    """A receiver at the address that the service has for its MLflow registry."""
    receiver = Receiver(urlsplit(stack.settings.mlflow_url or "").port or 0)
    receiver.start()
    yield receiver
    receiver.stop()
