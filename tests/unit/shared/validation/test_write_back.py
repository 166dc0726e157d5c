"""What a tenant may write to a model registry."""

import pytest
from pydantic import ValidationError

from archetype.contract.schedule import WriteBack
from shared.settings import Settings
from shared.validation.write_back import WriteBackRule, explain_refusal

RULES = {
    "vision": [
        WriteBackRule(models=["vision-*"], aliases=["audited"], tag_prefixes=["archetype."]),
        WriteBackRule(models=["shared"], tag_prefixes=["vision."]),
    ],
    "audio": [WriteBackRule(models=["*"], aliases=["champion"])],
    "video": [WriteBackRule(models=["*"], runs=True)],
}


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("vision-fruit", WriteBack()),
        ("vision-fruit", WriteBack(alias="audited")),
        ("vision-fruit", WriteBack(tag=None, alias="audited")),
        ("vision-fruit", WriteBack(tag=None)),
        ("shared", WriteBack(tag="vision.verdict")),
    ],
)
def test_a_tenant_may_write_what_a_rule_of_its_own_allows(model: str, target: WriteBack) -> None:
    assert explain_refusal("vision", model, target, RULES) is None


@pytest.mark.parametrize(
    ("tenant", "model", "target", "refused"),
    [
        ("other", "vision-fruit", WriteBack(), "the registered model 'vision-fruit'"),
        ("other", "vision-fruit", WriteBack(tag=None), "the registered model"),
        ("vision", "audio-fruit", WriteBack(), "the registered model 'audio-fruit'"),
        ("vision", "VISION-fruit", WriteBack(), "the registered model"),
        ("vision", "my-vision-fruit", WriteBack(), "the registered model"),
        ("vision", "vision-fruit", WriteBack(alias="champion"), "the alias 'champion'"),
        ("vision", "vision-fruit", WriteBack(alias="Audited"), "the alias"),
        ("vision", "vision-fruit", WriteBack(tag="mlflow.note.content"), "the tag 'mlflow.note.content'"),
        ("vision", "shared", WriteBack(), "the tag 'archetype.verdict'"),
        ("vision", "shared", WriteBack(tag="vision.verdict", alias="audited"), "the alias 'audited'"),
        ("audio", "vision-fruit", WriteBack(alias="champion"), "the tag 'archetype.verdict'"),
        ("vision", "vision-fruit", WriteBack(run=True), "to the runs of 'vision-fruit'"),
    ],
)
def test_everything_else_is_refused_with_what_it_is(tenant: str, model: str, target: WriteBack, refused: str) -> None:
    reason = explain_refusal(tenant, model, target, RULES)
    assert reason is not None
    assert refused in reason
    assert f"tenant '{tenant}'" in reason
    assert "ARCHETYPE_MLFLOW_WRITE_BACK" in reason


def test_a_tenant_may_write_to_runs_if_a_rule_allows_it() -> None:
    assert explain_refusal("video", "fruit", WriteBack(tag=None, run=True), RULES) is None


def test_nothing_is_allowed_without_rules_or_with_empty_names() -> None:
    assert Settings().mlflow_write_back == {}
    empty = {"vision": [WriteBackRule(models=[""], aliases=[""], tag_prefixes=[""])]}
    for rules in (Settings().mlflow_write_back, empty):
        assert explain_refusal("vision", "", WriteBack(tag="x"), rules) is not None
    every_model = {"vision": [WriteBackRule(models=["*"], tag_prefixes=[""])]}
    assert "the tag 'x'" in (explain_refusal("vision", "m", WriteBack(tag="x"), every_model) or "")


def test_the_rules_are_read_from_the_environment_and_passed_to_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"vision": [{"models": ["vision-*"], "aliases": ["audited"]}]}'
    monkeypatch.setenv("ARCHETYPE_MLFLOW_WRITE_BACK", text)
    first = Settings()
    assert first.mlflow_write_back == {"vision": [WriteBackRule(models=["vision-*"], aliases=["audited"])]}
    monkeypatch.setenv("ARCHETYPE_MLFLOW_WRITE_BACK", first.environment()["ARCHETYPE_MLFLOW_WRITE_BACK"])
    assert Settings() == first


@pytest.mark.parametrize("text", ['{"Vision!": []}', '{"vision": [{"models": []}]}', '{"vision": [{"model": "x"}]}'])
def test_rules_with_a_mistake_stop_the_process(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ARCHETYPE_MLFLOW_WRITE_BACK", text)
    with pytest.raises(ValidationError):
        Settings()
