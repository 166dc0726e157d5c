"""Options that name target classes, and what is sent for them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archetype.client
from archetype.cli.app import app
from archetype.cli.targets import read_targets
from archetype.contract.class_names import ClassNames
from tests.support.mock_service import MockService, answer_json, answer_problem, make_job

NAMES = ClassNames(["drake", "drake, male", "tench, Tinca tinca", "lemon", "4", 'the "big" one, red', "all"])


def fail() -> ClassNames:
    raise AssertionError("the class names are not needed")


@pytest.mark.parametrize(
    ("lists", "names", "indices", "targets"),
    [
        ([], [], [], None),
        (["all"], [], [], "all"),
        ([" all "], [], [], "all"),
        ([], ["all"], [], ["all"]),
        (["lemon"], [], [], ["lemon"]),
        (["4"], [], [], ["4"]),
        ([], [], [4, 0], [4, 0]),
        (["lemon", "#2"], ["drake, male"], [1], ["lemon", "#2", "drake, male", 1]),
        ([""], [], [], None),
    ],
)
def test_text_is_sent_as_text_and_an_index_as_a_number(
    lists: list[str], names: list[str], indices: list[int], targets: object
) -> None:
    assert read_targets(lists, names, indices, fail) == targets


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("lemon,drake", ["lemon", "drake"]),
        (" lemon , drake, ", ["lemon", "drake"]),
        ("drake, male", ["drake, male"]),
        ("Drake, Male", ["Drake, Male"]),
        ("drake, male,lemon", ["drake, male", "lemon"]),
        ("lemon, tench, Tinca tinca, drake, 4", ["lemon", "tench, Tinca tinca", "drake", "4"]),
        ('"drake, male", lemon', ["drake, male", "lemon"]),
        ('"new, class",lemon', ["new, class", "lemon"]),
        ('the "big" one, red', ['the "big" one, red']),
        ("lemmon,male", ["lemmon", "male"]),
        (",", None),
    ],
)
def test_a_list_is_split_at_commas_that_do_not_belong_to_a_name(text: str, targets: object) -> None:
    assert read_targets([text], [], [], lambda: NAMES) == targets


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Runs `archetype submit class-model` and returns the targets that it sent."""
    service = MockService()
    service.answer("POST", "/v1/jobs", answer_json(make_job(), 202))
    service.answer("GET", "/v1/models/birds", answer_json({"name": "birds", "class_names": NAMES.names}))
    service.answer("GET", "/v1/models/hidden", answer_problem(403, "the key may not read"))
    monkeypatch.setattr(archetype.client, "Client", lambda _, key: service.client(key=key))

    def run(*arguments: str, model: str = "birds") -> object:
        result = CliRunner().invoke(app, ["submit", "class-model", "--model", model, *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(service.sent("POST", "/v1/jobs")[-1].content)["targets"]

    return run


def test_the_names_of_the_model_say_which_commas_belong_to_a_name(submit: Callable[..., object]) -> None:
    assert submit("--targets", "drake, male,lemon") == ["drake, male", "lemon"]
    assert submit("--target", "a, b", "--index", "4", "--targets", "all") == ["all", "a, b", 4]
    assert submit("--targets", "all") == "all"


def test_a_list_is_split_at_all_commas_if_the_names_cannot_be_read(submit: Callable[..., object]) -> None:
    assert submit("--targets", "drake, male", model="hidden") == ["drake", "male"]


@pytest.mark.parametrize("option", [("--targets", "lemon"), ("--target", "lemon"), ("--index", "3")])
def test_classes_and_their_number_together_are_refused(option: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    words = ["submit", "saliency", "--model", "shapes", str(tmp_path / "x.png"), "--top", "1", *option]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "--top stands instead of" in result.output
