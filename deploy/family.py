"""The child processes of a stack: started, watched and stopped in order, and none outlives us."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import Problem
from shared.process import die_with_parent

READY_SECONDS = 90
STOP_SECONDS = 10


@dataclass(frozen=True)
class Family:
    """The child processes of a stack, each in a session of its own: Ctrl-C reaches them only through us, in order."""

    folder: Path
    env: dict[str, str]
    children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def run(self, name: str, command: list[str]) -> Iterator[None]:
        """Runs a child until the block ends. If we are killed, Linux kills it."""
        self.commands[name] = command
        self.start(name)
        try:
            yield
        finally:
            self.stop(name)

    def start(self, name: str) -> None:
        """Starts a child, also one that was killed. It lives no longer than the thread that starts it."""
        with self.log(name).open("ab") as log:
            self.children[name] = subprocess.Popen(
                self.commands[name],
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def stop(self, name: str) -> None:
        """SIGTERM and time to finish; then the whole group is killed. A job that was under way is queued again."""
        child = self.children[name]
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        self.kill(name)

    def kill(self, name: str) -> None:
        """SIGKILL for a child and all that it has started."""
        self.send(name, signal.SIGKILL)
        self.children[name].wait(STOP_SECONDS)

    def send(self, name: str, sign: signal.Signals) -> None:
        """Sends a signal to a child and all that it has started; none where all of them have gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.children[name].pid, sign)

    def wait_for(self, name: str, ask: Callable[[], object]) -> None:
        """Asks until a part answers; says where its log is if it dies or never does."""
        limit = time.monotonic() + READY_SECONDS
        while True:
            try:
                ask()
                return
            except (Problem, OSError) as error:
                if self.children[name].poll() is not None:
                    raise self.died(name) from error
                if time.monotonic() > limit:
                    message = f"the {name} did not answer within {READY_SECONDS} s; its log is {self.log(name)}"
                    raise RuntimeError(message) from error
            time.sleep(0.05)

    def check(self) -> None:
        """Raises `RuntimeError` if a child has died."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise self.died(name)

    def died(self, name: str) -> RuntimeError:
        return RuntimeError(f"the {name} stopped; its log is {self.log(name)}:\n{_tail(self.log(name))}")

    def log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])
