"""Class names of `archetype models add`: files and known lists."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archetype.client
from archetype.cli.app import app
from tests.support.mock_service import MockService, answer_json

ADD = ["models", "add", "fruit", "--architecture", "timm:x", "--published", "--classes"]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MockService:
    """A service that accepts every release."""
    service = MockService()
    service.answer("POST", "/v1/models", answer_json({"class_names": ["a"], "layers": []}, 201))
    monkeypatch.setattr(archetype.client, "Client", lambda _, key: service.client(key=key))
    return service


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_class_names_is_sent_as_a_list(service: MockService, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("кот\r\ncrane\u2028bird\r\ncrane\r\n\r\n".encode(encoding))
    assert CliRunner().invoke(app, [*ADD, str(file)]).exit_code == 0
    (request,) = service.sent("POST", "/v1/models")
    assert json.loads(request.content)["classes"] == ["кот", "crane\u2028bird", "crane"]


def test_a_repository_of_the_hub_is_what_is_published(service: MockService) -> None:
    words = ["models", "add", "vit", "--architecture", "huggingface", "--repository", f"owner/vit@{'a' * 40}"]
    assert CliRunner().invoke(app, words).exit_code == 0
    (request,) = service.sent("POST", "/v1/models")
    assert json.loads(request.content)["published"] == f"owner/vit@{'a' * 40}"


def test_the_name_of_a_known_list_is_sent_as_it_is(service: MockService) -> None:
    assert CliRunner().invoke(app, [*ADD, "imagenet"]).exit_code == 0
    (request,) = service.sent("POST", "/v1/models")
    assert json.loads(request.content)["classes"] == "imagenet"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cat\ndog".encode("utf-16"), "names.txt, line 1: the encoding is UTF-16, not UTF-8; save the file as UTF-8"),
        ("cat\ncaf\u00e9".encode("latin-1"), "names.txt, line 2: the byte 0xE9 is not valid in UTF-8"),
        (None, "there is no file "),
    ],
)
def test_a_file_that_is_no_list_of_names_is_refused_in_one_sentence(
    service: MockService, tmp_path: Path, data: bytes | None, message: str
) -> None:
    file = tmp_path / "names.txt"
    if data is not None:
        file.write_bytes(data)
    result = CliRunner().invoke(app, [*ADD, str(file)])
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert service.sent("POST", "/v1/models") == []


def test_what_the_trial_found_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [
        {"method": "saliency", "kind": "guided", "available": False, "reason": "the network has no ReLU"},
        {"method": "saliency", "kind": "deconvnet", "available": False, "reason": "the network has no ReLU"},
        {"method": "filters", "kind": None, "available": True, "reason": None},
    ]
    model = {"class_names": ["a"], "layers": [], "notes": ["It takes 4 images at once."], "capabilities": missing}
    service = MockService()
    service.answer("POST", "/v1/models", answer_json(model, 201))
    monkeypatch.setattr(archetype.client, "Client", lambda _, key: service.client(key=key))
    options = ["--output-kind", "sigmoid_logits", "--output-select", "1"]
    result = CliRunner().invoke(app, [*ADD, "imagenet", *options])
    assert result.output.splitlines() == [
        "fruit@1 works: 1 classes, 0 layers",
        "note: It takes 4 images at once.",
        "unavailable: saliency guided, saliency deconvnet (the network has no ReLU)",
    ]
    body = json.loads(service.sent("POST", "/v1/models")[0].content)
    assert body["output"] == {"kind": "sigmoid_logits", "select": 1}
