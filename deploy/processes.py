"""The child processes of a local stack: started, watched and stopped in order. None outlives the parent."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from shared.errors import Problem
from shared.process.parent import die_with_parent

READY_SECONDS = 90
STOP_SECONDS = 10


@dataclass(frozen=True)
class ProcessGroup:
    """The child processes of a stack.

    Each runs in its own session, so that Ctrl-C reaches only the parent, which then stops the children in order.

    Attributes:
        folder: The working directory of the children; logs are in `folder/log`.
        env: The environment of the children.
        children: The running processes, by name.
        commands: The command of each process, by name.
        envs: The environment of each process that has one of its own, by name.
        stopped: The processes that were stopped or killed on purpose. A supervisor leaves them alone.
    """

    folder: Path
    env: dict[str, str]
    children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    envs: dict[str, dict[str, str]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)

    @contextmanager
    def run(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Iterator[None]:
        """Runs a child until the block ends. If the parent is killed, Linux kills the child.

        Args:
            name: Name of the child and of its log.
            command: Its command line.
            env: Its environment, if it is not that of the group.
        """
        self.commands[name] = command
        self.envs[name] = self.env if env is None else env
        self.start(name)
        try:
            yield
        finally:
            self.stop(name)

    def start(self, name: str) -> None:
        """Starts a child, or starts it again. It ends at the latest with the thread that starts it."""
        with self.log(name).open("ab") as log:
            self.children[name] = subprocess.Popen(
                self.commands[name],
                env=self.envs.get(name, self.env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        self.stopped.discard(name)

    def stop(self, name: str) -> None:
        """Sends SIGTERM, waits up to `STOP_SECONDS`, then kills the process group. A running job is queued again."""
        child = self.children[name]
        self.stopped.add(name)
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        self.kill(name)

    def kill(self, name: str) -> None:
        """Sends SIGKILL to a child and its descendants."""
        self.stopped.add(name)
        self.send(name, signal.SIGKILL)
        self.children[name].wait(STOP_SECONDS)

    def kill_rest(self, name: str) -> None:
        """Sends SIGKILL to the descendants of a child that has died, so that none works on beside its successor."""
        self.send(name, signal.SIGKILL)

    def send(self, name: str, sign: signal.Signals) -> None:
        """Sends a signal to a child and its descendants. Does nothing if all of them have ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.children[name].pid, sign)

    def wait_for(self, name: str, probe: Callable[[], object], *others: str) -> None:
        """Calls a probe until it succeeds.

        Args:
            name: The process that the probe asks.
            probe: A function that raises a problem or an `OSError` until the process is ready.
            others: Processes without which it is never ready.

        Raises:
            RuntimeError: A process ended, or the probe failed for `READY_SECONDS`; the message names the log.
        """
        limit = time.monotonic() + READY_SECONDS
        while True:
            try:
                probe()
                return
            except (Problem, OSError) as error:
                for ended in (name, *others):
                    if self.children[ended].poll() is not None:
                        raise self.make_error(ended) from error
                if time.monotonic() > limit:
                    message = f"{name} was not ready within {READY_SECONDS} s; its log is {self.log(name)}"
                    raise RuntimeError(message) from error
            time.sleep(0.05)

    def check(self) -> None:
        """Raises `RuntimeError` if a child has ended that was not stopped on purpose."""
        for name in self.list_ended():
            raise self.make_error(name)

    def list_ended(self) -> list[str]:
        """Returns the children that have ended and were not stopped on purpose."""
        return [name for name, child in self.children.items() if child.poll() is not None and name not in self.stopped]

    def explain_end(self, name: str) -> str:
        """Returns how a child has ended: with an exit code, or by which signal."""
        code = self.children[name].returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        names = {sign.value: sign.name for sign in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"

    def make_error(self, name: str) -> RuntimeError:
        """Returns the error for a child that has ended, with the last lines of its log."""
        reason, log = self.explain_end(name), self.log(name)
        return RuntimeError(f"{name} stopped ({reason}); its log is {log}:\n{_tail(log)}")

    def log(self, name: str) -> Path:
        """Returns the path of the log of a child."""
        return self.folder / "log" / f"{name}.log"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])
