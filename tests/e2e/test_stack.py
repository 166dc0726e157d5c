"""The local stack: start, stop, restart and kill."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.local import free_port, run_stack
from shared.settings import Settings
from tests.support.paths import ROOT
from tests.support.slow_network import ENVIRONMENT, draw_slowly
from tests.support.waiting import wait_until

QUICK = ClassModel(
    method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=8, extras=False)
)


def list_process_tree(pid: int) -> set[int]:
    """A process and its descendants."""
    pids = {pid}
    while True:
        parents = {int(entry.name): parent_of(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
        children = {child for child, parent in parents.items() if parent in pids}
        if children <= pids:
            return pids
        pids |= children


def parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


STARTED: list["subprocess.Popen[bytes]"] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Kills the stacks that a failed test left behind, so that they do not slow down the next test."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait(10)


def serve(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "deploy.local", "serve", "--folder", str(folder), "--port", str(port)]
    folder.mkdir(exist_ok=True)
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    STARTED.append(process)

    def is_ready() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            assert process.poll() is None, (folder / "serve.log").read_text()
            return False
        return True

    wait_until(is_ready, 60)
    return process


@pytest.mark.parametrize(
    "signal_number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_no_process_of_a_stack_survives_a_signal(tmp_path: Path, signal_number: int) -> None:
    process = serve(tmp_path, free_port())
    pids = list_process_tree(process.pid)
    assert len(pids) >= 6
    os.kill(process.pid, signal_number)
    process.wait(40)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), 20)


@pytest.mark.slow
def test_a_second_stack_in_the_same_folder_has_the_results_of_the_first(tmp_path: Path) -> None:
    with run_stack(tmp_path, Settings()) as stack, Client(stack.url) as client:
        job = client.wait(client.submit(QUICK).id, timeout=400)
        data = client.fetch(job.artifacts[0])
    with run_stack(tmp_path, Settings()) as stack, Client(stack.url) as client:
        assert client.job(job.id) == job
        assert client.fetch(job.artifacts[0]) == data
        assert [listed.id for listed in client.jobs()] == [job.id]


def test_a_job_succeeds_although_the_whole_stack_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_LEASE_SECONDS", "2")
    monkeypatch.setenv("ARCHETYPE_SWEEP_SECONDS", "0.5")
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    process = serve(tmp_path, port := free_port())
    with Client(f"http://127.0.0.1:{port}") as client:
        job_id = client.submit(draw_slowly(80)).id
        for job in client.watch(job_id, timeout=400):
            if job.progress.done > 5:
                break
    process.kill()
    process.wait(10)
    process = serve(tmp_path, port := free_port())
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.wait(job_id, timeout=400)
    process.terminate()
    assert process.wait(40) == 0
    assert job.state is State.SUCCEEDED
    assert job.attempt == 2


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        run_stack(tmp_path, Settings(), workers=0),
        pytest.raises(RuntimeError, match="another stack runs"),
        run_stack(tmp_path, Settings(), workers=0),
    ):
        pass


def test_serve_reports_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-m", "deploy.local", "serve", "--folder", str(tmp_path), "--port", port]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"port {port} is in use" in refused.stderr


def test_serve_reports_an_invalid_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[[model]]\nname = "x"\n')
    command = [sys.executable, "-m", "deploy.local", "serve", "--folder", str(tmp_path), "--port", str(free_port())]
    command += ["--catalogue", str(path)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 1
    assert "architecture" in refused.stderr
    assert "Traceback" not in refused.stderr
