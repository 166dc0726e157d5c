"""Versions of a registry are fetched, registered once, and reported, whatever fails on the way."""

import io
from collections.abc import Iterator
from datetime import timedelta
from tempfile import TemporaryFile
from typing import Any

import httpx2
import pytest
import torch
from safetensors.torch import save

from api.dependencies import Services, connect
from api.services.mlflow import import_versions as module
from api.services.mlflow.import_store import PendingImport
from api.services.mlflow.import_thread import run_once
from api.services.mlflow.import_versions import announce_version, import_versions, look_for_versions
from api.services.mlflow.registry import MlflowRegistry, RegistryFailed
from api.services.register_model import register
from api.services.store_uploads import store_weights
from archetype.client import Client
from deploy.local import Stack
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.storage import layout
from shared.validation.imports import ImportRule
from tests.support.mlflow import sign, write_event
from tests.support.mlflow_server import StandIn, run_stand_in
from tests.support.networks import Small, small
from tests.support.waiting import wait_until

MODEL = "Fruit"
WEIGHTS = save(small(3).state_dict())


@pytest.fixture
def registry() -> Iterator[StandIn]:
    with run_stand_in() as server:
        yield server


@pytest.fixture
def services(stack: Stack, registry: StandIn) -> Services:
    """The services of a scheduler that imports the versions of a model with a name of its own."""
    return connect(make_settings(stack, registry))


def make_settings(stack: Stack, registry: StandIn, **changes: Any) -> Settings:
    register_as = {
        "name": f"fruit-{new_job_id()}",
        "architecture": "factory:small",
        "arguments": {"channels": 3},
        "classes": ["apple", "lemon", "pear"],
        "preprocessing": {"size": [28, 28]},
    }
    rules = {MODEL: ImportRule(register_as=register_as)}
    return stack.settings.model_copy(update={"mlflow_url": registry.url, "mlflow_models": rules} | changes)


def find_pending(services: Services) -> list[PendingImport]:
    name = services.settings.mlflow_models[MODEL].name
    return [pending for pending in services.imports.list_pending() if pending.model == name]


def run(services: Services) -> None:
    """Continues the imports until none is pending, without the pauses between attempts."""

    def is_done() -> bool:
        for pending in find_pending(services):
            services.imports.save(pending.model_copy(update={"next_at": pending.begun_at}))
        import_versions(services)
        return not find_pending(services)

    wait_until(is_done, 400)


def announce(services: Services, version: str = "1") -> None:
    assert announce_version(MODEL, version, services)


def test_a_version_becomes_a_release_that_works(services: Services, registry: StandIn, client: Client) -> None:
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS, "MLmodel": b"flavors: {}"})
    announce(services)
    run(services)
    name = services.settings.mlflow_models[MODEL].name
    assert [release["release"] for release in client.model(name)["releases"]] == ["1"]
    tags = registry.tags[MODEL, "1"]
    assert tags["archetype.import"] == "registered"
    assert len(tags["archetype.import.sha256"]) == 64
    (ended,) = [each for each in services.imports.list_ended() if each.model == f"{name}@1"]
    assert (ended.state, ended.sha256) == ("registered", tags["archetype.import.sha256"])


def test_a_state_dict_is_loaded_as_mlflow_logs_it(services: Services, registry: StandIn) -> None:
    file = io.BytesIO()
    torch.save(small(3).state_dict(), file)
    registry.add(MODEL, "1", {"state_dict.pth": file.getvalue()})
    announce(services)
    run(services)
    assert registry.tags[MODEL, "1"]["archetype.import"] == "registered", registry.tags


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"data/model.pth": b"pickle"}, "a pickled module, which is code"),
        ({"data/model.pt2": b"PK"}, "an exported program, which is code"),
        ({"README.md": b"#"}, "no file of weights"),
        ({"model.safetensors": b""}, "the file is empty"),
        ({"model.safetensors": b"no weights"}, "weights"),
        ({"model.safetensors": save(small(7).state_dict())}, "do not fit"),
    ],
    ids=["pickle", "program", "none", "empty", "broken", "another shape"],
)
def test_a_version_that_cannot_be_used_is_refused_with_the_reason(
    services: Services, registry: StandIn, files: dict[str, bytes], reason: str
) -> None:
    registry.add(MODEL, "1", files)
    announce(services)
    run(services)
    tags = registry.tags[MODEL, "1"]
    assert tags["archetype.import"] == "refused"
    assert reason in tags["archetype.import.detail"]


def test_artifacts_elsewhere_are_not_fetched(services: Services, registry: StandIn) -> None:
    registry.add(MODEL, "1", {}, uri="s3://bucket/models/1")
    announce(services)
    run(services)
    assert "start it with --serve-artifacts" in registry.tags[MODEL, "1"]["archetype.import.detail"]


def test_a_file_that_is_too_large_is_refused(stack: Stack, registry: StandIn) -> None:
    services = connect(make_settings(stack, registry, max_weights_bytes=len(WEIGHTS) - 1))
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS})
    announce(services)
    run(services)
    assert "ARCHETYPE_MAX_WEIGHTS_BYTES" in registry.tags[MODEL, "1"]["archetype.import.detail"]


def test_a_version_is_imported_after_the_registry_was_down(services: Services, registry: StandIn) -> None:
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS})
    announce(services)
    registry.fails = True
    import_versions(services)
    (pending,) = find_pending(services)
    assert pending.tries == 1
    assert "503" in (pending.detail or "")
    registry.fails = False
    run(services)
    assert registry.tags[MODEL, "1"]["archetype.import"] == "registered", registry.tags


@pytest.mark.parametrize("step", ["register", "store_weights"])
def test_an_import_that_was_interrupted_is_continued(
    services: Services, registry: StandIn, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The scheduler dies before the weights are stored, or before the release is registered."""
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS})
    announce(services)

    def die(*_: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, step, die)
        with pytest.raises(KeyboardInterrupt):
            import_versions(services)
    (pending,) = find_pending(services)
    assert (pending.sha256 is None) == (step == "store_weights")
    if step == "register":
        registry.files.clear()  # the weights are not fetched again
    run(services)
    assert registry.tags[MODEL, "1"]["archetype.import"] == "registered", registry.tags


def test_a_release_of_the_same_name_with_other_weights_is_not_the_version(
    services: Services, registry: StandIn, client: Client, stack: Stack
) -> None:
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS})
    other = connect(services.settings)
    release = services.settings.mlflow_models[MODEL].make_release(
        "1", store(save(Small(classes=3).state_dict()), other)
    )
    register(release, module.make_caller(services), services)
    announce(services)
    run(services)
    tags = registry.tags[MODEL, "1"]
    assert tags["archetype.import"] == "refused"
    assert "exists already" in tags["archetype.import.detail"]


def store(data: bytes, services: Services) -> str:
    with TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return store_weights(file, module.make_caller(services), services).id


def test_a_version_that_cannot_be_fetched_stops_no_other(
    services: Services, registry: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        registry.add(MODEL, version, {"model.safetensors": WEIGHTS})
        announce(services, version)
    fetch = module.fetch_weights

    def fail(pending: PendingImport, *more: Any) -> None:
        if pending.version == "1":
            raise OSError(28, "No space left on device")
        fetch(pending, *more)

    monkeypatch.setattr(module, "fetch_weights", fail)
    import_versions(services)
    first, second = sorted(find_pending(services), key=lambda pending: pending.version)
    assert (first.tries, "No space left" in (first.detail or ""), first.sha256) == (1, True, None)
    assert second.sha256 is not None
    services.storage.bucket.put(layout.pending_import(first.model, "3"), b"{", media_type="application/json")
    assert len(find_pending(services)) == 2
    services.storage.bucket.delete(layout.pending_import(first.model, "3"))


def test_a_version_whose_tags_cannot_be_written_stops_no_other(
    services: Services, registry: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        registry.add(MODEL, version, {"README.md": b"#"})
        announce(services, version)

    def fail(*_: object, **_more: object) -> None:
        raise ValueError("not a text")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowRegistry, "post", fail)
        import_versions(services)
    assert [(pending.tries, "not a text" in (pending.detail or "")) for pending in find_pending(services)] == [
        (1, True)
    ] * 2
    run(services)
    assert {tags["archetype.import"] for tags in registry.tags.values()} == {"refused"}


def test_an_address_that_is_none_is_refused(services: Services, registry: StandIn) -> None:
    registry.add(MODEL, "1", {}, uri="mlflow-artifacts://[x/a")
    announce(services)
    run(services)
    assert registry.tags[MODEL, "1"]["archetype.import"] == "refused"


def test_versions_that_were_not_announced_are_found_and_none_is_imported_twice(
    services: Services, registry: StandIn
) -> None:
    for version in ("1", "2"):
        registry.add(MODEL, version, {"model.safetensors": WEIGHTS})
    announce(services, "1")
    look_for_versions(services)
    assert [pending.version for pending in find_pending(services)] == ["1", "2"]
    run(services)
    look_for_versions(services)
    announce(services, "1")
    assert find_pending(services) == []


def test_versions_on_several_pages_are_noted_also_after_an_interruption(
    services: Services, registry: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.page = 2
    for version in "12345":
        registry.add(MODEL, version, {"model.safetensors": WEIGHTS})
    calls = 0

    def announce_once(*arguments: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return announce_version(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, "announce_version", announce_once)
        with pytest.raises(KeyboardInterrupt):
            look_for_versions(services)
    assert [pending.version for pending in find_pending(services)] == ["1"]
    look_for_versions(services)
    assert [pending.version for pending in find_pending(services)] == list("12345")
    for pending in find_pending(services):
        services.imports.end(pending, module.view_pending(pending))


def test_the_registry_gives_up_after_a_day(services: Services, registry: StandIn) -> None:
    announce(services)
    registry.fails = True
    (pending,) = find_pending(services)
    services.imports.save(pending.model_copy(update={"begun_at": pending.begun_at - timedelta(days=2)}))
    import_versions(services)
    name = services.settings.mlflow_models[MODEL].name
    assert [each.state for each in services.imports.list_ended() if each.model == f"{name}@1"] == ["given_up"]


def test_one_scheduler_imports_at_a_time(services: Services, registry: StandIn) -> None:
    registry.add(MODEL, "1", {"model.safetensors": WEIGHTS})
    announce(services)
    with services.locks.lock("imports", 30, wait=10):
        run_once(services)
    assert len(find_pending(services)) == 1
    assert find_pending(services)[0].tries == 0


def test_models_without_a_rule_and_other_versions_are_left_alone(services: Services) -> None:
    assert not announce_version("Other", "1", services)
    assert not announce_version(MODEL, "latest", services)
    assert not announce_version(MODEL, "../1", services)
    assert find_pending(services) == []


def test_a_version_whose_rule_was_removed_is_refused(services: Services, stack: Stack, registry: StandIn) -> None:
    announce(services)
    name = services.settings.mlflow_models[MODEL].name
    without = connect(stack.settings.model_copy(update={"mlflow_url": registry.url}))
    import_versions(without)
    assert [each.state for each in services.imports.list_ended() if each.model == f"{name}@1"] == ["refused"]


def test_a_registry_that_answers_without_json_is_an_error(
    services: Services, registry: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "get", lambda *_: b"<html>")
    with pytest.raises(RegistryFailed, match="without JSON: <html>"):
        look_for_versions(services)


def test_an_event_notes_the_version_and_the_list_shows_it_to_its_tenant(
    stack: Stack, registry: StandIn, alice: Client, operator: Client
) -> None:
    from api.app import create_app

    settings = make_settings(stack, registry)
    secret = settings.mlflow_secret
    assert secret is not None
    application = create_app(settings).test_client()
    body = write_event().replace(b'"Shapes"', b'"Fruit"')
    answer = application.post("/v1/registry/mlflow", data=body, headers=sign(secret.get_secret_value(), body))
    assert (answer.status_code, answer.json["imported"]) == (202, True)
    token = settings.operator_token
    assert token is not None
    listed = application.get(
        "/v1/registry/mlflow", headers={"Authorization": f"Bearer {token.get_secret_value()}"}
    ).json
    reference = f"{settings.mlflow_models[MODEL].name}@1"
    assert [each["state"] for each in listed["items"] if each["model"] == reference] == ["pending"]
    assert alice._transport.http.get("/v1/registry/mlflow").json() == {"items": []}
    assert isinstance(operator._transport.http, httpx2.Client)
