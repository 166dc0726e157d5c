"""The environment and the command line of a local stack."""

import urllib.request
from pathlib import Path

import pytest

from deploy.command import INTERRUPTED, Terminated, run_command
from deploy.local import _read_settings, bypass_proxies, main, make_environment
from shared.catalogue.catalogue import load_catalogue
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_the_exceptions_of_the_user_are_kept_and_this_machine_is_added(name: str) -> None:
    variables = bypass_proxies({name: "intranet, .example.org"})
    assert variables["no_proxy"] == variables["NO_PROXY"]
    hosts = variables["no_proxy"].split(",")
    assert {"intranet", ".example.org", "localhost", "127.0.0.1", "::1", "[::1]"} <= set(hosts)
    assert len(hosts) == len(set(hosts))
    assert bypass_proxies(variables) == variables


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "127.0.0.1"])
def test_processes_of_a_stack_bypass_proxies_for_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    for name, value in make_environment(None).items():
        monkeypatch.setenv(name, value)
    assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("example.org:80")


def test_no_setting_of_the_user_reaches_a_process_of_the_stack_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_OPERATOR_TOKEN", "the user's")
    assert not [name for name in make_environment(None) if name.startswith("ARCHETYPE_")]


def test_an_empty_port_counts_as_unset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setattr("sys.argv", ["deploy.local", "serve", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "port of the API" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), INTERRUPTED),
        (Terminated(), 0),
        (RuntimeError("x"), 1),
        (OSError("x"), 1),
        (ValueError("x"), 1),
    ],
)
def test_a_command_that_is_interrupted_or_fails_ends_with_its_code_and_without_a_traceback(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def fail() -> int:
        raise error

    assert run_command(fail) == code
    assert "Traceback" not in capsys.readouterr().err


def test_weights_of_the_catalogue_that_do_not_exist_are_named_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here.pt").touch()
    entry = '[[model]]\nname = "{0}"\narchitecture = "timm:resnet10t"\nclasses = ["a"]\nweights = "{0}.pt"\n'
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(entry.format("here") + entry.format("gone"))
    assert _read_settings(catalogue).catalogue == catalogue
    warned = capsys.readouterr().err
    assert f"the weights of gone@1 do not exist: {tmp_path / 'gone.pt'}" in warned
    assert "here" not in warned.replace(str(tmp_path), "")


def test_the_example_of_a_catalogue_needs_no_files() -> None:
    assert all(release.weights is None for release in load_catalogue(ROOT / "models.example.toml").configured)
