"""The operator's rules about registered models are checked when the service starts."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shared.settings import Settings
from shared.validation.imports import ImportRule

FIELDS = {"name": "fruit", "architecture": "torchvision:resnet18", "classes": ["apple", "pear"]}


def test_a_rule_makes_the_registration_of_a_version() -> None:
    release = ImportRule(register_as=FIELDS).make_release("3", "a" * 64)
    assert (release.reference, release.upload, release.classes) == ("fruit@3", "a" * 64, ["apple", "pear"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"register_as": FIELDS | {"release": "1"}}, "must not contain release"),
        ({"register_as": FIELDS | {"key": "exports/a"}}, "must not contain key"),
        ({"register_as": FIELDS | {"architecture": "magic"}}, "architecture"),
        ({"register_as": {"name": "fruit"}}, "architecture"),
        ({"register_as": FIELDS | {"colour": 1}}, "colour"),
        ({"register_as": FIELDS, "file": "../secrets"}, "leads out"),
        ({"register_as": FIELDS, "file": "/etc/passwd"}, "file"),
        ({"register_as": FIELDS, "first_version": 0}, "first_version"),
    ],
)
def test_rules_that_cannot_work_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ImportRule.model_validate(change)


@pytest.mark.parametrize(("version", "covered"), [("2", False), ("3", True), ("10", True), ("0", False), ("x", False)])
def test_versions_before_the_first_one_are_not_imported(version: str, covered: bool) -> None:
    assert ImportRule(register_as=FIELDS, first_version=3).covers(version) is covered


def test_rules_are_read_from_the_environment_and_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_MLFLOW_MODELS", json.dumps({"Fruit": {"register_as": FIELDS}}))
    settings = Settings()
    monkeypatch.setenv("ARCHETYPE_MLFLOW_MODELS", settings.environment()["ARCHETYPE_MLFLOW_MODELS"])
    assert Settings().mlflow_models == settings.mlflow_models
    assert settings.mlflow_models["Fruit"].name == "fruit"


def test_two_registered_models_cannot_be_one_model_of_the_catalogue() -> None:
    rules = {name: ImportRule(register_as=FIELDS) for name in ("Fruit", "fruits")}
    with pytest.raises(ValidationError, match="several registered models are registered as fruit"):
        Settings(mlflow_models=rules)
