"""Settings from the environment, from files of secrets, and under old names."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.settings import RENAMED, SECTIONS, Settings, list_sections

EXAMPLES = {
    "liveness_dir": ("/run/life", Path("/run/life")),
    "ca_bundle": ("/etc/ca.pem", Path("/etc/ca.pem")),
    "trusted_proxies": ("2", 2),
    "plan_cache": ("/var/plans.json", Path("/var/plans.json")),
    "scheduler_poll_seconds": ("7.5", 7.5),
    "exported_programs": ("true", True),
}
"""A text and its value for each setting that was renamed."""

OPTIONAL = [name for name, field in Settings.model_fields.items() if field.default is None]


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARCHETYPE_SECRETS", str(tmp_path))
    return tmp_path


def test_a_setting_can_be_a_file_of_secrets_and_the_environment_has_precedence(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "archetype_redis_url").write_text("redis://user:pass@redis:6379/0\n")
    (secrets / "archetype_s3_secret_key").write_text("from a file")
    (secrets / "redis.acl").write_text("not a setting")
    settings = Settings()
    assert settings.redis_url == "redis://user:pass@redis:6379/0"
    assert settings.s3_secret_key.get_secret_value() == "from a file"
    monkeypatch.setenv("ARCHETYPE_REDIS_URL", "redis://elsewhere:6379/0")
    assert Settings().redis_url == "redis://elsewhere:6379/0"


def test_files_of_secrets_are_ignored_unless_their_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "archetype_redis_url").write_text("redis://user:pass@redis:6379/0\n")
    assert Settings().redis_url == "redis://127.0.0.1:6379/0"


def test_another_process_builds_the_same_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(mlflow_secret="s", factories={"a": "b:c"}, retention_bytes=5)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="redis_uri"):
        Settings(redis_uri="redis://127.0.0.1/0")


def test_there_is_an_example_for_every_renamed_setting() -> None:
    assert set(EXAMPLES) == set(RENAMED.values()) <= set(Settings.model_fields)
    assert not set(RENAMED) & set(Settings.model_fields)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
@pytest.mark.parametrize("source", ["environment", "lower case", "secrets", "argument"])
def test_an_old_name_is_accepted_with_a_warning(
    old: str, new: str, source: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = EXAMPLES[new]
    arguments: dict[str, Any] = {}
    if source == "environment":
        monkeypatch.setenv(f"ARCHETYPE_{old.upper()}", text)
    elif source == "lower case":
        monkeypatch.setenv(f"archetype_{old}", text)
    elif source == "secrets":
        (secrets / f"archetype_{old}").write_text(text + "\n")
    else:
        arguments = {old: value}
    with pytest.warns(FutureWarning, match=f"ARCHETYPE_{old.upper()} is now ARCHETYPE_{new.upper()}"):
        settings = Settings(**arguments)
    assert getattr(settings, new) == value


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
@pytest.mark.parametrize("source_of_new", ["environment", "secrets"])
def test_the_new_name_has_precedence_over_the_old_one(
    old: str, new: str, source_of_new: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = EXAMPLES[new]
    monkeypatch.setenv(f"ARCHETYPE_{old.upper()}", "0" if new in ("trusted_proxies", "exported_programs") else "1")
    if source_of_new == "environment":
        monkeypatch.setenv(f"ARCHETYPE_{new.upper()}", text)
    else:
        (secrets / f"archetype_{new}").write_text(text)
    with pytest.warns(FutureWarning):
        assert getattr(Settings(), new) == value


def test_new_names_give_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for new, (text, _) in EXAMPLES.items():
        monkeypatch.setenv(f"ARCHETYPE_{new.upper()}", text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = Settings()
    assert {new: getattr(settings, new) for new in EXAMPLES} == {new: value for new, (_, value) in EXAMPLES.items()}


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("source", ["environment", "secrets", "argument"])
def test_an_empty_value_of_an_optional_setting_means_that_it_is_not_set(
    name: str, blank: str, source: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {}
    if source == "environment":
        monkeypatch.setenv(f"ARCHETYPE_{name.upper()}", blank)
    elif source == "secrets":
        (secrets / f"archetype_{name}").write_text(blank + "\n")
    else:
        arguments = {name: blank}
    assert getattr(Settings(**arguments), name) is None


@pytest.mark.parametrize("blank", ["", " \t"])
@pytest.mark.parametrize("source", ["environment", "secrets", "argument"])
def test_an_empty_value_of_any_setting_means_that_it_is_not_set(
    blank: str, source: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = Settings()
    arguments: dict[str, Any] = {}
    for name in Settings.model_fields:
        if source == "environment":
            monkeypatch.setenv(f"ARCHETYPE_{name.upper()}", blank)
        elif source == "secrets":
            (secrets / f"archetype_{name}").write_text(blank + "\n")
        else:
            arguments[name] = blank
    assert Settings(**arguments) == defaults


def test_an_empty_environment_variable_does_not_hide_a_file_of_secrets(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "archetype_s3_bucket").write_text("from-a-file")
    monkeypatch.setenv("ARCHETYPE_S3_BUCKET", "")
    assert Settings().s3_bucket == "from-a-file"


def test_an_empty_folder_of_secrets_is_not_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archetype_life").write_text("/run/life")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHETYPE_SECRETS", "")
    assert Settings().liveness_dir is None


@pytest.mark.parametrize("old", [old for old, new in RENAMED.items() if new in OPTIONAL])
def test_an_empty_value_under_an_old_name_means_that_it_is_not_set(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ARCHETYPE_{old.upper()}", "")
    assert getattr(Settings(), RENAMED[old]) is None


def test_an_empty_value_under_the_new_name_does_not_hide_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_CA_BUNDLE", "")
    monkeypatch.setenv("ARCHETYPE_CA", "/etc/ca.pem")
    with pytest.warns(FutureWarning):
        assert Settings().ca_bundle == Path("/etc/ca.pem")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    description = Settings.model_fields[name].description or ""
    assert len(description.split()) >= 3
    assert description.endswith(".")
    assert name in OPTIONAL or "If not set" not in description
    if name.endswith("_seconds"):
        assert "second" in description


@pytest.mark.parametrize("name", OPTIONAL)
def test_every_optional_setting_says_what_happens_without_it(name: str) -> None:
    description = Settings.model_fields[name].description or ""
    assert "If not set" in description or "if set" in description


def test_every_setting_belongs_to_a_section() -> None:
    sections = list_sections()
    assert list(sections) == list(SECTIONS)
    assert [name for names in sections.values() for name in names] == list(Settings.model_fields)


def test_tls_options_are_given_only_for_tls_connections() -> None:
    assert Settings(ca_bundle="/etc/ca.pem").redis_tls == {}
    assert Settings(redis_url="rediss://redis/0").redis_tls == {"ssl_cert_reqs": "required"}
    with_bundle = Settings(redis_url="rediss://redis/0", ca_bundle="/etc/ca.pem")
    assert with_bundle.redis_tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/etc/ca.pem"}
