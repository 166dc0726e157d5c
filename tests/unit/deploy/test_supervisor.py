"""The supervisor of a local stack: real child processes, and a clock that the test sets."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.processes import ProcessGroup
from deploy.supervisor import MAX_FAILURES, MAX_WAIT_SECONDS, STABLE_SECONDS, Supervisor
from tests.support.waiting import wait_until

SLEEP = "import time; time.sleep(600)"
FAIL = "import sys; sys.exit('no such setting: speed')"
WITH_CHILD = (
    "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid,"
    " flush=True); time.sleep(600)"
)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Lab:
    """A process group under a supervisor, and what the supervisor has reported."""

    processes: ProcessGroup
    stack: ExitStack
    clock: Clock = field(default_factory=Clock)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.processes, self.lines.append, self.clock)

    def run(self, name: str, code: str) -> None:
        self.stack.enter_context(self.processes.run(name, [sys.executable, "-c", code]))
        self.supervisor.tend()

    def pid(self, name: str) -> int:
        return self.processes.children[name].pid

    def lose(self, name: str) -> None:
        """Kills a child as another program would."""
        os.kill(self.pid(name), signal.SIGKILL)
        self.wait_for_end(name)

    def wait_for_end(self, name: str) -> None:
        wait_until(lambda: self.processes.children[name].poll() is not None, 30)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.supervisor.tend()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "log").mkdir()
    with ExitStack() as stack:
        yield Lab(ProcessGroup(tmp_path, dict(os.environ)), stack)


def test_a_part_that_was_killed_is_started_again_and_the_log_says_why(lab: Lab) -> None:
    lab.run("worker", SLEEP)
    before = lab.pid("worker")
    lab.lose("worker")
    lab.pass_time(0)
    assert lab.lines == [
        f"worker died (killed by SIGKILL); it is started again in 0.5 s; its log is {lab.processes.log('worker')}"
    ]
    lab.pass_time(0.4)
    assert lab.pid("worker") == before
    lab.pass_time(0.2)
    assert lab.pid("worker") != before
    assert lab.lines[1:] == [f"worker was started again (process {lab.pid('worker')})"]


def test_the_wait_doubles_up_to_a_maximum_and_starts_anew_after_a_stable_run(lab: Lab) -> None:
    lab.run("worker", SLEEP)
    waits = []
    for _ in range(7):
        lab.lose("worker")
        lab.pass_time(0)
        waits.append(lab.lines[-1].partition("again in ")[2].partition(" s")[0])
        lab.pass_time(MAX_WAIT_SECONDS)
    assert waits == ["0.5", "1", "2", "4", "8", "15", "15"]
    lab.pass_time(STABLE_SECONDS)
    lab.lose("worker")
    lab.pass_time(0)
    assert "again in 0.5 s" in lab.lines[-1]


def test_a_part_that_cannot_be_kept_running_ends_the_stack_with_its_name_reason_and_log(lab: Lab) -> None:
    lab.run("worker", FAIL)
    for _ in range(MAX_FAILURES - 1):
        lab.wait_for_end("worker")
        lab.pass_time(0)
        lab.pass_time(MAX_WAIT_SECONDS)
    lab.wait_for_end("worker")
    with pytest.raises(RuntimeError) as raised:
        lab.pass_time(0)
    message = str(raised.value)
    assert "worker cannot be kept running: it died 5 times in a row" in message
    assert "exit code 1" in message
    assert str(lab.processes.log("worker")) in message
    assert "no such setting: speed" in message


def test_descendants_of_a_part_that_died_do_not_run_beside_its_successor(lab: Lab) -> None:
    lab.run("worker", WITH_CHILD)
    log = lab.processes.log("worker")
    wait_until(lambda: log.read_text().strip(), 30)
    orphan = int(log.read_text())
    lab.lose("worker")
    lab.pass_time(0)
    wait_until(lambda: not is_running(orphan), 30)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_part_that_was_stopped_on_purpose_stays_stopped(lab: Lab) -> None:
    lab.run("worker", SLEEP)
    lab.run("api", SLEEP)
    lab.processes.stop("worker")
    lab.processes.kill("api")
    lab.pass_time(MAX_WAIT_SECONDS)
    assert lab.lines == []
    assert lab.processes.children["worker"].poll() is not None
    lab.processes.start("worker")
    lab.lose("worker")
    lab.pass_time(0)
    assert "worker died" in lab.lines[-1]
