"""The check of committed secrets."""

from pathlib import Path

import pytest

from tools.checks import leaks


def test_find_leaks_finds_an_aws_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "ROOT", tmp_path)
    (tmp_path / "settings.py").write_text('aws_key = "AKIA' + "IOSFODNN7" + 'EXAMPLF"\n')
    (tmp_path / "clean.py").write_text("answer = 42\n")
    assert list(leaks.find_leaks(["settings.py", "clean.py"])) == ["settings.py:1: AWS Access Key"]
