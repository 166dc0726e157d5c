"""Liveness files."""

import time
from pathlib import Path

from shared.process.liveness import throttle, touch_liveness_file


def test_a_liveness_file_is_touched_only_if_a_folder_is_set(tmp_path: Path) -> None:
    touch_liveness_file(None, "worker")
    touch_liveness_file(tmp_path / "life", "worker")
    assert [path.name for path in tmp_path.rglob("*")] == ["life", "worker"]


def test_a_throttled_function_is_called_at_most_once_in_its_interval() -> None:
    calls: list[int] = []
    act = throttle(0.05, lambda: calls.append(1))
    act()
    act()
    assert len(calls) == 1
    time.sleep(0.06)
    act()
    assert len(calls) == 2
