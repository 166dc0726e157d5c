"""The Redis client, in front of servers that hang, refuse, or have become replicas."""

import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from shared.errors import Refused, Unavailable
from shared.process.answer_time import set_answer_seconds
from shared.process.circuit_breaker import FAILURES
from shared.settings import Settings
from shared.state.events import START, Events
from shared.state.redis_client import PROBE, QUICK, RedisClient, RedisPatience, exit_if_cluster
from tests.support.redis_servers import run_redis
from tests.support.waiting import wait_until

HASTY = RedisPatience(seconds=0.5, connect_seconds=0.5, total_seconds=1, retries=0, remembers=True)


def test_a_redis_that_hangs_is_unavailable_and_remembered(tmp_path: Path) -> None:
    with run_redis(tmp_path) as (url, processes):
        client = RedisClient(Settings(redis_url=url), HASTY)
        client.ping()
        processes.send("redis", signal.SIGSTOP)
        for _ in range(FAILURES):
            with pytest.raises(Unavailable, match="no answer in time"):
                client.ping()
        started = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable, match="no answer in time"):
                client.ping()
        assert time.monotonic() - started < 20  # 100 waits are 50 s
        processes.send("redis", signal.SIGCONT)
        wait_until(lambda: _works(client), 30, message="not renewed")


def test_a_command_that_blocks_in_redis_waits_longer_than_the_answers_of_a_read(tmp_path: Path) -> None:
    with run_redis(tmp_path) as (url, processes):
        client = RedisClient(Settings(redis_url=url), QUICK)
        events = Events(client)
        set_answer_seconds(0.3)
        try:
            assert events.read("tenant", START, seconds=1) == []
            processes.send("redis", signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(Unavailable, match="no answer in time"):
                client.ping()
            assert time.monotonic() - began < QUICK.seconds / 2
        finally:
            set_answer_seconds(None)
            processes.send("redis", signal.SIGCONT)


def _works(client: RedisClient) -> bool:
    try:
        client.check()
    except Unavailable:
        return False
    return True


def test_an_answer_that_trickles_ends() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(b"+")
            for _ in range(600):
                connection.sendall(b"a")
                time.sleep(0.1)

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    client = RedisClient(Settings(redis_url=f"redis://127.0.0.1:{listener.getsockname()[1]}"), HASTY)
    with pytest.raises(Unavailable):
        client.ping()
    thread.join(30)
    listener.close()


def test_a_redis_cluster_is_refused(tmp_path: Path) -> None:
    with run_redis(tmp_path, "--cluster-enabled", "yes") as (url, _):
        client = RedisClient(Settings(redis_url=url), PROBE)
        with pytest.raises(Refused, match="cluster mode"):
            client.check()
        with pytest.raises(SystemExit):
            exit_if_cluster(Settings(redis_url=url))
    exit_if_cluster(Settings(redis_url=url))  # it does not answer: that is no reason to end


ACL = """\
user default off
user full on >secret allkeys allchannels +@all
user few on >secret allkeys allchannels +ping +get +hello +auth
"""


@pytest.mark.parametrize(
    ("user", "cause"),
    [("full:wrong@", "password"), ("", "password"), ("few:secret@", "permission"), ("full:secret@", "memory is full")],
)
def test_the_cause_of_a_refusal_is_named(tmp_path: Path, user: str, cause: str) -> None:
    (tmp_path / "acl").write_text(ACL)
    options = ("--aclfile", str(tmp_path / "acl"), "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    with run_redis(tmp_path, *options) as (url, _):
        client = RedisClient(Settings(redis_url=url.replace("redis://", f"redis://{user}")), PROBE)
        with pytest.raises(Refused, match=cause):
            client.check()


@pytest.mark.parametrize(("url", "cause"), [("redis://127.0.0.1:1", "refused"), ("redis://redis.invalid", "DNS|time")])
def test_the_cause_of_a_missing_connection_is_named(url: str, cause: str) -> None:
    with pytest.raises(Unavailable, match=cause):
        RedisClient(Settings(redis_url=url), PROBE).check()


class Address:
    """An address in front of several servers, like that of a managed Redis: connections stay with their server."""

    def __init__(self, port: int) -> None:
        self.target, self._open = port, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.target))
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=pair, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (self._listener, *self._open):
            connection.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("kind", ["command", "script", "transaction"])
def test_after_a_failover_connections_lead_to_the_new_primary(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        first, _ = stack.enter_context(run_redis(tmp_path / "first"))
        second, _ = stack.enter_context(run_redis(tmp_path / "second"))
        address = Address(_port(first))
        stack.callback(address.close)
        client = RedisClient(Settings(redis_url=address.url), QUICK)
        _write(client, kind)
        address.target = _port(second)
        redis.Redis.from_url(first).replicaof("127.0.0.1", str(_port(second)))
        _write(client, kind)
        assert redis.Redis.from_url(second).get("a") == b"1"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].removesuffix("/0"))


def _write(client: RedisClient, kind: str) -> None:
    with client.connection() as connection:
        if kind == "command":
            connection.set("a", "1")
        elif kind == "script":
            connection.register_script("return redis.call('set', KEYS[1], '1')")(keys=["a"])
        else:
            with connection.pipeline(transaction=True) as pipeline:
                pipeline.set("a", "1").get("a").execute()
