"""Ctrl-C ends every command that waits with 130, without a traceback."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

PLAN = 'name = "small"\nclasses = ["one"]\n'
COMMANDS = (
    ("jobs", "wait", "some-job"),
    ("jobs", "follow"),
    ("--json", "jobs", "wait", "some-job"),
    ("audit", "run", "mine@2", "--plan", "plan.toml"),
    ("status",),
)


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A service that accepts connections and never answers; the event is set when a request has arrived."""
    arrived = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            if connection.recv(1):
                arrived.set()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", arrived
    listener.close()
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_ctrl_c_ends_a_waiting_command_with_130(
    words: tuple[str, ...], silent: tuple[str, threading.Event], tmp_path: "os.PathLike[str]"
) -> None:
    url, arrived = silent
    (tmp_path / "plan.toml").write_text(PLAN)  # type: ignore[operator]
    command = [sys.executable, "-m", "archetype", *words]
    env = {**os.environ, "ARCHETYPE_URL": url, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk'}", "ARCHETYPE_KEY": ""}
    # A background process of a shell ignores SIGINT, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, before)
    try:
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
