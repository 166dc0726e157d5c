"""`make serve` survives the death of its parts."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.servers import free_port, list_hosts
from shared.settings import Settings
from tests.chaos.processes import list_descendants
from tests.support.serving import serving
from tests.support.waiting import wait_until

QUICK = {"ARCHETYPE_LEASE_SECONDS": "3", "ARCHETYPE_SWEEP_SECONDS": "0.5", "ARCHETYPE_CHECKPOINT_SECONDS": "1"}
KILLS, JOBS = 4, 12


@dataclass(frozen=True)
class Service:
    """`make serve`: its process, its port and its log."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for two tests. The second kills the worker often, after which it is started again more slowly."""
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    with serving(folder, port, QUICK) as process:
        yield Service(process, port, folder / "serve.log")


def find(root: int, *words: bytes) -> list[int]:
    """The descendants of a process whose command lines contain one of the words."""
    return [pid for pid in list_descendants(root) if any(word in read_command(pid) for word in words)]


def read_command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def make_request(number: int) -> ClassModel:
    params = ClassModelParameters(steps=60, extras=False)
    return ClassModel(method="class_model", model="shapes", targets=[number], params=params)


def test_every_part_that_is_killed_is_started_again_with_its_data(service: Service) -> None:
    stack = service.process
    with Client(f"http://127.0.0.1:{service.port}") as client:
        job = client.wait(client.submit(make_request(3)).id, timeout=400)
        picture = client.fetch(job.artifacts[0])
        (worker,) = [pid for pid in find(stack.pid, b"worker.app") if os.getpgid(pid) == pid]
        members = list_descendants(worker)
        earlier = len(service.log.read_text())
        for words in (
            b"worker.app",
            b"redis-server",
            b"serve\0s3",
            b"caddy",
            b"gunicorn",
            b"webhook_sender",
            b"api.scheduler",
        ):
            (leader, *_) = [pid for pid in find(stack.pid, words) if os.getpgid(pid) == pid]
            os.kill(leader, signal.SIGKILL)

        def read_log() -> str:
            return service.log.read_text()[earlier:]

        wait_until(lambda: read_log().count("was started again") >= 7, 90, message=read_log)
        wait_until(lambda: is_ready(client), 60)
        assert not [pid for pid in members if Path(f"/proc/{pid}").exists() and b"spawn" in read_command(pid)]
        assert client.fetch(client.job(job.id).artifacts[0]) == picture
        assert client.wait(client.submit(make_request(4)).id, timeout=400).state is State.SUCCEEDED
        assert "worker died (killed by SIGKILL); it is started again in 0.5 s; its log is" in read_log()


@pytest.mark.slow
def test_twelve_jobs_succeed_although_random_processes_of_the_worker_are_killed_four_times(service: Service) -> None:
    choose = random.Random(os.urandom(8))
    with Client(f"http://127.0.0.1:{service.port}") as client:
        jobs = [client.submit(make_request(number % 12)).id for number in range(JOBS)]
        for _ in range(KILLS):
            victims = wait_until(lambda: find(service.process.pid, b"worker.app", b"billiard.spawn"), 60)
            with suppress(ProcessLookupError):
                os.kill(choose.choice(victims), signal.SIGKILL)
            time.sleep(choose.uniform(0.2, 4))
        ended = [client.wait(job, timeout=400) for job in jobs]
        assert [job.state for job in ended] == [State.SUCCEEDED] * JOBS, [job.error for job in ended]
        assert service.process.poll() is None


def is_ready(client: Client) -> bool:
    with suppress(Exception):
        return set(client.health().values()) == {"ok"}
    return False


PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:1")
PROXIES["ALL_PROXY"] = "socks5://127.0.0.1:1"
EMPTY = {f"ARCHETYPE_{name.upper()}": "" for name in Settings.model_fields} | {"no_proxy": "", "PORT": ""}


def test_the_stack_works_with_proxies_and_empty_settings_in_the_environment_and_ends_with_130_after_ctrl_c(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, port := free_port(), {**PROXIES, **EMPTY}) as stack:
        for host in ("localhost", *map(format_host, list_hosts())):
            with Client(f"http://{host}:{port}") as client:
                assert is_ready(client), host
        with Client(f"http://localhost:{port}") as client:
            assert client.wait(client.submit(make_request(5)).id, timeout=400).state is State.SUCCEEDED
        stack.send_signal(signal.SIGINT)
        assert stack.wait(60) == 130
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
