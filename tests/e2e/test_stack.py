"""The local stack as its user has it: started, stopped, started again, killed."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import free_port, run_stack
from shared.client import Client
from shared.jobs import State
from shared.methods import ClassModel, ClassModelParameters
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
QUICK = ClassModel(method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=8))
LONG = ClassModel(method="class_model", model="shapes", targets="all", params=ClassModelParameters(steps=200))


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    found = {pid}
    while True:
        parents = {int(entry.name): parent_of(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
        grown = found | {child for child, parent in parents.items() if parent in found}
        if grown == found:
            return found
        found = grown


def parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


STARTED: list["subprocess.Popen[bytes]"] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that fails leaves no stack behind to slow the next ones down."""
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
    limit = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return process
        except OSError:
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < limit
            time.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_stopped_no_process_is_left(tmp_path: Path, how: int) -> None:
    process = serve(tmp_path, free_port())
    everyone = family(process.pid)
    assert len(everyone) >= 6
    os.kill(process.pid, how)
    process.wait(40)
    limit = time.monotonic() + 20
    while any(alive(pid) for pid in everyone) and time.monotonic() < limit:
        time.sleep(0.1)
    assert [pid for pid in everyone if alive(pid)] == []


def test_a_second_start_finds_the_results_of_the_first(tmp_path: Path) -> None:
    with run_stack(tmp_path, Settings()) as stack, Client(stack.url) as client:
        job = client.wait(client.submit(QUICK).id, timeout=60)
        picture = client.fetch(job.artifacts[0])
    with run_stack(tmp_path, Settings()) as stack, Client(stack.url) as client:
        assert client.job(job.id) == job
        assert client.fetch(job.artifacts[0]) == picture
        assert [listed.id for listed in client.jobs()] == [job.id]


def test_a_job_survives_that_everything_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_LEASE_SECONDS", "2")
    monkeypatch.setenv("ARCHETYPE_SWEEP_SECONDS", "0.5")
    process = serve(tmp_path, port := free_port())
    with Client(f"http://127.0.0.1:{port}") as client:
        job_id = client.submit(LONG).id
        for job in client.watch(job_id, timeout=60):
            if job.progress.done > 5:
                break
    process.kill()
    process.wait(10)
    process = serve(tmp_path, port := free_port())
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.wait(job_id, timeout=120)
    process.terminate()
    assert process.wait(40) == 0
    assert job.state is State.SUCCEEDED
    assert job.attempt == 2


def test_two_stacks_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        run_stack(tmp_path, Settings()),
        pytest.raises(RuntimeError, match="another stack runs"),
        run_stack(tmp_path, Settings()),
    ):
        pass


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with run_stack(tmp_path / "one", Settings()) as stack:
        port = stack.url.rpartition(":")[2]
        command = [sys.executable, "-m", "deploy.local", "serve", "--folder", str(tmp_path / "two"), "--port", port]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"port {port} is taken" in refused.stderr


def test_a_wrong_catalogue_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[[model]]\nname = "x"\n')
    command = [
        sys.executable,
        "-m",
        "deploy.local",
        "serve",
        "--folder",
        str(tmp_path),
        "--port",
        str(free_port()),
        "--catalogue",
        str(path),
    ]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 1
    assert "architecture" in refused.stderr
    assert "Traceback" not in refused.stderr
