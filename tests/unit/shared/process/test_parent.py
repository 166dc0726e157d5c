"""Processes that must not survive their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import time
from shared.process.parent import die_with_parent
die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_child_dies_when_its_parent_has_ended() -> None:
    parent = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True, timeout=60)
    status = Path("/proc") / parent.stdout.strip() / "status"
    limit = time.monotonic() + 10
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_child_whose_parent_died_before_the_call_ends_at_once() -> None:
    other = os.getppid()  # not the process that starts the child
    code = "from shared.process.parent import die_with_parent; die_with_parent({parent}); print('survived')"
    for parent, result in ((other, (-signal.SIGKILL, "")), (os.getpid(), (0, "survived\n"))):
        command = [sys.executable, "-c", code.format(parent=parent)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (child.returncode, child.stdout) == result
