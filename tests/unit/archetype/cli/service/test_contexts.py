"""Contexts: the service and the key that commands use without options."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archetype.cli.app import app
from archetype.cli.service.connection import DEFAULT_URL, Service, choose_service
from archetype.cli.service.contexts import locate


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("ARCHETYPE_URL", "ARCHETYPE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["context", *arguments])


def test_without_a_context_the_service_of_this_machine_is_used() -> None:
    assert choose_service("", "") == Service(DEFAULT_URL, "")
    assert choose_service("", "secret") == Service(DEFAULT_URL, "secret")


def test_the_context_in_use_names_the_service_until_another_one_is_used() -> None:
    assert run("add", "production", "--url", "https://one.example", "--key", "first").exit_code == 0
    assert run("add", "staging", "--url", "https://two.example").exit_code == 0
    assert choose_service("", "") == Service("https://two.example", "")
    assert run("use", "production").exit_code == 0
    assert choose_service("", "") == Service("https://one.example", "first")
    assert [each["used"] for each in json.loads(run("list", "--json").stdout)] == [True, False]
    assert run("remove", "production").exit_code == 0
    assert choose_service("", "") == Service(DEFAULT_URL, "")


def test_the_key_of_a_context_is_not_sent_to_another_url() -> None:
    run("add", "production", "--url", "https://one.example", "--key", "first")
    assert choose_service("https://other.example", "") == Service("https://other.example", "")
    assert choose_service("", "another") == Service("https://one.example", "another")


def test_only_the_user_can_read_the_keys_and_they_are_not_printed() -> None:
    added = run("add", "production", "--url", "https://one.example", "--key", "topsecret")
    assert locate().stat().st_mode & 0o077 == 0
    assert "topsecret" in locate().read_text()
    assert "topsecret" not in added.output + run("list").output + run("list", "--json").output


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("use", "nowhere"), "there is no context 'nowhere'; `archetype context add` adds one"),
        (("remove", "nowhere"), "there is no context 'nowhere'"),
        (("add", "x", "--url", "staging.example"), "begins with http:// or https://"),
    ],
)
def test_a_mistake_is_explained(arguments: tuple[str, ...], cause: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert cause in result.output.replace("\n", " ")


def test_a_damaged_file_is_named() -> None:
    run("add", "production", "--url", "https://one.example")
    locate().write_text("{")
    result = CliRunner().invoke(app, ["jobs", "list"])
    assert result.exit_code == 1
    assert f"{locate()} is damaged" in result.output.replace("\n", "")
