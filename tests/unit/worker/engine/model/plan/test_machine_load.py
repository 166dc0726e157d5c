"""The processors that other processes use."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.engine.model.plan.machine_load import MachineLoad, read_busy_seconds

SPIN = "import time; end = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


@pytest.mark.skipif(read_busy_seconds() is None, reason="needs /proc/stat")
def test_a_process_that_computes_is_counted_and_this_one_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN]) as other:
        try:
            time.sleep(0.5)
            started, end = MachineLoad.now(), time.monotonic() + 1.0
            while time.monotonic() < end:
                pass
            load = started.since()
        finally:
            other.kill()
    assert load > 0.3


@pytest.mark.parametrize("content", [None, "", "cpu", "cpu a b c d e f g h"])
def test_without_statistics_the_load_is_not_known(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "stat"
    if content is not None:
        path.write_text(content)
    assert read_busy_seconds(path) is None
    assert MachineLoad(None, 0.0, 0.0).since() == 0
