"""Every read of the API and of the web page while Redis or the store hangs: it waits once, and says what hangs."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from flask import Flask

from api.app import create_app
from api.web.job_list import make_rows
from deploy.local import Stack
from shared.errors import Unavailable
from shared.process.answer_time import set_answer_seconds
from shared.process.circuit_breaker import CircuitBreaker
from tests.siege.gate import Gate
from tests.support.api_requests import QUICK
from tests.support.waiting import wait_until

NAMES = {"redis": "Redis", "store": "store"}
SETTINGS = {"redis": "redis_url", "store": "s3_endpoint"}
CALLERS = 4
READ_SECONDS = 1.5
"""How long a read waits here: longer than in the service, so that a busy machine does not look like a second wait."""

WAIT_FOR_THEMSELVES = {"/readyz", "/v2/health/ready"}
"""They test the dependencies, within two seconds."""


@pytest.fixture(scope="module")
def values(stack: Stack) -> dict[str, str]:
    """Things that exist, by the name of the part of a path that contains them."""
    http = create_app(stack.settings).test_client()
    job = http.post("/v1/jobs", json=QUICK).json["id"]
    wait_until(lambda: http.get(f"/v1/jobs/{job}").json["state"] == "succeeded", 120)
    (artifact, *_) = http.get(f"/v1/jobs/{job}").json["artifacts"]
    return {
        "job_id": job,
        "name": artifact["name"],
        "model": "shapes",
        "reference": "shapes",
        "method": QUICK["method"],
    }


@contextmanager
def cut_off(stack: Stack, dependency: str) -> Iterator[tuple[Flask, Gate]]:
    """An application that reaches a dependency through a gate."""
    url = urlsplit(str(getattr(stack.settings, SETTINGS[dependency])))
    assert url.port is not None
    with Gate(url.port) as gate:
        address = f"{url.netloc.rpartition(':')[0]}:{urlsplit(gate.url).port}"
        changed = url._replace(netloc=address).geturl()
        yield create_app(stack.settings.model_copy(update={SETTINGS[dependency]: changed})), gate


def list_reads(app: Flask, values: dict[str, str]) -> list[str]:
    """The paths of all reads, with things that exist where there are some."""
    urls = app.url_map.bind("localhost")
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    known = {name: values.get(name, "0" * 26) for rule in rules for name in rule.arguments}
    numbers = {"number": 0, "index": 0, "frame": 0}
    paths = {urls.build(rule.endpoint, {**known, **numbers}, append_unknown=False) for rule in rules}
    return sorted(paths - WAIT_FOR_THEMSELVES)


@pytest.mark.parametrize("dependency", SETTINGS)
def test_every_read_waits_once_for_a_dependency_that_hangs(
    stack: Stack, values: dict[str, str], dependency: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the first one that the dependency does not answer, because the failures of others are not remembered."""
    monkeypatch.setattr(CircuitBreaker, "find_refusal", lambda _: None)
    monkeypatch.setattr("api.app.READ_SECONDS", READ_SECONDS)
    with cut_off(stack, dependency) as (app, gate):
        paths = list_reads(app, values)
        assert app.test_client().get(f"/v1/jobs/{values['job_id']}").status_code == 200
        with gate.hung(), ThreadPoolExecutor(CALLERS) as callers:
            answers = dict(zip(paths, callers.map(lambda path: read(app, path), paths), strict=True))
    assert len(answers) > 40
    assert sum(status == 503 for status, _, _ in answers.values()) > 5
    slow = {path: seconds for path, (_, _, seconds) in answers.items() if seconds > 1.8 * READ_SECONDS}
    assert not slow
    wrong = {path: status for path, (status, _, _) in answers.items() if status >= 500 and status != 503}
    assert not wrong
    silent = {
        path: text for path, (status, text, _) in answers.items() if status == 503 and NAMES[dependency] not in text
    }
    assert not silent


def test_a_list_that_reads_many_requests_waits_once_for_a_store_that_hangs(
    stack: Stack, values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose request cannot be read is shown without it, so that one wait for each would make a slow page."""
    monkeypatch.setattr(CircuitBreaker, "find_refusal", lambda _: None)
    with cut_off(stack, "store") as (app, gate):
        services = app.extensions["archetype"]
        job = services.job_index.find(values["job_id"])
        services.registered_releases()
        set_answer_seconds(READ_SECONDS)
        try:
            with gate.hung():
                began = time.monotonic()
                with suppress(Unavailable):  # the catalogue may have to be read again
                    make_rows([job] * 30, services)
                assert time.monotonic() - began < 1.8 * READ_SECONDS
        finally:
            set_answer_seconds(None)


def read(app: Flask, path: str) -> tuple[int, str, float]:
    """The status of a read, its text if it failed, and the seconds until the first byte."""
    began = time.monotonic()
    with app.test_client().get(path, headers={"Accept": "text/html, */*"}) as response:
        seconds = time.monotonic() - began
        return response.status_code, response.text if response.status_code >= 400 else "", seconds
