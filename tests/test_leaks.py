"""Secrets that are committed are found."""

from pathlib import Path

import pytest

from tests import leaks


def test_a_key_in_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "ROOT", tmp_path)
    (tmp_path / "settings.py").write_text('aws_key = "AKIA' + "IOSFODNN7" + 'EXAMPLF"\n')
    (tmp_path / "clean.py").write_text("answer = 42\n")
    assert list(leaks.find_leaks(["settings.py", "clean.py"])) == ["settings.py:1: AWS Access Key"]
