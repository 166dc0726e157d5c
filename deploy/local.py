"""Runs the whole service on one machine without containers or root: Redis, an S3 server, worker and API as processes.

python -m deploy.local serve    runs the service in the foreground until Ctrl-C
python -m deploy.local demo     starts the service, runs two jobs over HTTP, stops the service
"""

import argparse
import fcntl
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploy.command import run_command
from deploy.demos.demo import show
from deploy.demos.demo_network import add_demo_network, has_demo_network
from deploy.local_secrets import LocalSecrets, protect
from deploy.processes import ProcessGroup
from deploy.rights import Role
from deploy.servers import (
    HOST,
    HOST_6,
    check_addresses,
    format_address,
    free_port,
    is_free,
    list_hosts,
    redis_command,
    run_store,
)
from deploy.supervisor import Supervisor
from shared.catalogue.catalogue import load_catalogue
from shared.process.check_settings import check_settings
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.storage.s3 import Bucket

LOOPBACK = ("localhost", ".localhost", HOST, HOST_6, f"[{HOST_6}]")
"""Names and addresses of this machine, in the forms that libraries compare."""

TEND_SECONDS = 0.2
"""Time between two looks at the processes."""


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        url: The base URL of the API.
        settings: The settings with all rights in Redis and in the store. Each process has fewer.
        processes: `redis`, `store`, `store-guard`, `worker`, `worker-2` …, `webhook-sender`, `scheduler` and `api`.
    """

    url: str
    settings: Settings
    processes: ProcessGroup

    def check(self) -> None:
        """Raises `RuntimeError` if a process has ended."""
        self.processes.check()


@contextmanager
def run_stack(
    folder: Path, settings: Settings, *, port: int = 0, workers: int = 1, store: str | None = None
) -> Iterator[Stack]:
    """Starts Redis, the store, workers, webhook sender, scheduler and API in this order; stops them in reverse order.

    Args:
        folder: The folder of data and logs. A later stack in the same folder finds the results of this one.
        settings: The settings of all processes. If they do not set the addresses of Redis and the store, free ports of
            the loopback interface are used.
        port: The port of the API on the loopback interface; 0 selects a free one.
        workers: The number of workers.
        store: The address (`host:port`) on which the object store listens, if `s3_endpoint` is a proxy in front of it.

    Raises:
        RuntimeError: A process did not start, or another stack runs in the folder.
    """
    folder = folder.resolve()
    protect(folder)
    with ExitStack() as stack:
        stack.enter_context(_lock(folder))
        settings = _assign_ports(settings)
        check_addresses(settings)
        secrets = LocalSecrets.create(folder, settings)
        settings = _complete(settings, folder, secrets)
        owner = secrets.settings_of_owner(settings)
        processes = ProcessGroup(folder, make_environment(None))
        stack.enter_context(processes.run("redis", redis_command(folder / "redis", settings, acl=secrets.acl)))
        url = f"http://{store}" if store else settings.s3_endpoint or ""
        stack.enter_context(run_store(processes, folder / "s3", secrets, settings, url))
        processes.wait_for("redis", RedisClient(owner).ping)
        processes.wait_for("store", Bucket(owner).create, "store-guard")
        port = port or free_port()
        for name, role, command in _list_parts(workers, port):
            env = make_environment(secrets.settings_of(role, settings)) | _limit_threads(workers)
            stack.enter_context(processes.run(name, command, env))
        url = f"http://{HOST}:{port}"
        processes.wait_for("api", lambda: _probe(f"{url}/readyz"))
        yield Stack(url, owner, processes)


def _complete(settings: Settings, folder: Path, secrets: LocalSecrets) -> Settings:
    """Returns the settings with defaults of a local stack for those that are not set."""
    return settings.model_copy(
        update={
            "plan_cache": settings.plan_cache or folder / "plans.json",
            "operator_token": settings.operator_token or secrets.load_operator_token(),
            "keyless_loopback": settings.keyless_loopback or "keyless_loopback" not in settings.model_fields_set,
        }
    )


def _list_parts(workers: int, port: int) -> Iterator[tuple[str, Role, list[str]]]:
    """Yields name, role and command of each part of the service, in the order in which they are started."""
    for number in range(1, workers + 1):
        name = "worker" if number == 1 else f"worker-{number}"
        yield name, Role.WORKER, [*WORKER, "--hostname", f"{name}@%h"]
    yield "webhook-sender", Role.WEBHOOK_SENDER, WEBHOOK_SENDER
    yield "scheduler", Role.SCHEDULER, SCHEDULER
    # On both loopback addresses, because `localhost` may resolve to either.
    yield "api", Role.API, [*API, *(word for host in list_hosts() for word in ("--bind", format_address(host, port)))]


WORKER = ["nice", sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "interactive,bulk"]
WORKER += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
"""`nice`, because all processes share the cores of one machine and the API must answer while a worker computes."""

WEBHOOK_SENDER = [sys.executable, "-m", "worker.webhook_sender"]
SCHEDULER = [sys.executable, "-m", "api.scheduler"]
API = [sys.executable, "-m", "gunicorn", "--config", "python:api.server.config", "--graceful-timeout", "5"]


def _assign_ports(settings: Settings) -> Settings:
    """Returns the settings with free ports for Redis and the store, unless their addresses are set."""
    free = {"redis_url": f"redis://{HOST}:{free_port()}/0", "s3_endpoint": f"http://{HOST}:{free_port()}"}
    return settings.model_copy(
        update={name: address for name, address in free.items() if name not in settings.model_fields_set}
    )


def bypass_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables with which no library sends a request for this machine to a proxy."""
    names = [environment.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = ",".join(dict.fromkeys(host.strip() for host in (*",".join(names).split(","), *LOOPBACK) if host.strip()))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def make_environment(settings: Settings | None) -> dict[str, str]:
    """Returns the environment of a process: these settings and no others, with the checkout on the Python path.

    Secrets are in the environment, because every user of the machine can read a command line.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARCHETYPE_")}
    root = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, (str(root), str(root / "sdk"), os.environ.get("PYTHONPATH"))))
    settings_of_process = settings.environment() if settings else {}
    return {**inherited, **settings_of_process, **bypass_proxies(os.environ), "PYTHONPATH": path}


def _limit_threads(workers: int) -> dict[str, str]:
    """Divides the cores among several workers. If each used all cores, all would be many times slower."""
    if workers < 2 or os.environ.get("OMP_NUM_THREADS"):
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))}


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Locks the folder, so that only one stack runs in it. The lock ends with the process, however the process ends."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another stack runs in {folder}; stop it, or use another folder") from error
        yield


def _probe(url: str) -> None:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).close()


def main() -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("serve", "demo"))
    parser.add_argument("--folder", type=Path, default=Path("var"), help="folder for data, logs and results")
    parser.add_argument("--port", type=_port, default=os.environ.get("PORT") or "8080", help="port of the API (serve)")
    parser.add_argument("--catalogue", type=Path, help="models.toml to use; default: ./models.toml if it exists")
    options = parser.parse_args()
    os.environ.update(bypass_proxies(os.environ))
    settings = add_demo_network(_read_settings(options.catalogue))
    if options.command == "serve":
        serve(options.folder, options.port, settings)
    else:
        with run_stack(options.folder, settings) as stack:
            show(stack.url, options.folder / "demo", knows_photographs=has_demo_network(settings))
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port number from 1 to 65535")
    return int(text)


def _read_settings(catalogue: Path | None) -> Settings:
    """Returns the settings of the environment with the catalogue to use. Raises an error if it is invalid."""
    settings = Settings()
    check_settings(settings)
    default = Path("models.toml")
    path = catalogue or settings.catalogue or (default if default.exists() else None)
    for release in load_catalogue(path).configured:  # fails early, before any process starts
        if release.weights is not None and not release.weights.exists():
            print(f"warning: the weights of {release.reference} do not exist: {release.weights}", file=sys.stderr)
    return settings.model_copy(update={"catalogue": path.resolve() if path else None})


def serve(folder: Path, port: int, settings: Settings) -> None:
    """Runs the stack until it is interrupted or one of its processes cannot be kept running."""
    if not is_free(port):
        raise RuntimeError(f"port {port} is in use; choose another: make serve PORT=8081")
    with run_stack(folder, settings, port=port) as stack:
        print(f"Archetype runs at {stack.url} (API documentation: {stack.url}/docs). Data and logs: {folder}/.")
        if settings.operator_token is None:
            print(f"The operator token is in {folder}/operator-token. Use it as ARCHETYPE_KEY to create API keys.")
        print("Press Ctrl-C to stop.", flush=True)
        supervisor = Supervisor(stack.processes, report=_print_with_time)
        while True:
            time.sleep(TEND_SECONDS)
            supervisor.tend()


def _print_with_time(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
