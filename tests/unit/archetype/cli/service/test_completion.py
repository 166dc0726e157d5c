"""Completion in the shell: models, releases and classes, from the service; silence if it does not answer."""

from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

import archetype.client
from archetype.cli.service.completion import complete_classes, complete_models
from tests.support.mock_service import MockService, answer_json

MODEL = {"name": "fruit", "releases": ["1", "2"], "class_names": ["lemon", "lemon tree", "fig, ripe"]}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MockService:
    service = MockService()
    service.answer("GET", "/v1/models", answer_json({"items": [MODEL, MODEL | {"name": "flowers"}]}))
    service.answer("GET", "/v1/models/fruit", answer_json(MODEL))
    monkeypatch.setattr(archetype.client, "Client", lambda _, key, **__: service.client(key=key))
    return service


def context(**params: Any) -> Any:
    root = SimpleNamespace(params={"url": "http://127.0.0.1:9", "key": ""})
    return SimpleNamespace(params=params, find_root=lambda: root)


@pytest.mark.usefixtures("service")
def test_models_then_their_releases_are_completed() -> None:
    assert complete_models(context(), "f") == ["fruit", "flowers"]
    assert complete_models(context(), "fr") == ["fruit"]
    assert complete_models(context(), "fruit@") == ["fruit@1", "fruit@2"]


@pytest.mark.usefixtures("service")
def test_classes_of_the_chosen_model_are_completed() -> None:
    assert complete_classes(context(model="fruit"), "lem") == ["lemon", "lemon tree"]


def test_without_an_answer_nothing_is_completed(service: MockService) -> None:
    service.answer("GET", "/v1/models", httpx2.Response(401))
    assert complete_models(context(), "f") == []


def test_completion_waits_shortly_for_a_service_that_is_not_there() -> None:
    assert complete_models(context(), "f") == []
