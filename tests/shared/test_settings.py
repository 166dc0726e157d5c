"""Settings come from the environment, and from files where a container has its secrets."""

from pathlib import Path

import pytest

from shared.settings import Settings


def test_a_secret_can_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archetype_redis_url").write_text("redis://user:pass@redis:6379/0\n")
    (tmp_path / "archetype_s3_secret_key").write_text("from a file")
    (tmp_path / "redis.acl").write_text("nothing of ours")
    assert Settings().redis_url == "redis://127.0.0.1:6379/0"
    monkeypatch.setenv("ARCHETYPE_SECRETS", str(tmp_path))
    settings = Settings()
    assert settings.redis_url == "redis://user:pass@redis:6379/0"
    assert settings.s3_secret_key.get_secret_value() == "from a file"
    monkeypatch.setenv("ARCHETYPE_REDIS_URL", "redis://elsewhere:6379/0")
    assert Settings().redis_url == "redis://elsewhere:6379/0"


def test_what_other_processes_are_given_makes_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(mlflow_secret="s", factories={"a": "b:c"}, retention_bytes=5)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
