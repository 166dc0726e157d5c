"""Messages in a Redis that refuses to write for some time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection, Consumer, Queue

from deploy.processes import ProcessGroup
from deploy.servers import free_port, redis_command
from shared.queue.kombu_transport import use_for_redis
from shared.settings import Settings
from shared.state.redis_client import RedisClient


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    """A Redis server for one test, whose settings the test changes."""
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    (tmp_path / "log").mkdir()
    processes = ProcessGroup(tmp_path, dict(os.environ))
    with processes.run("redis", redis_command(tmp_path, settings)):
        processes.wait_for("redis", RedisClient(settings).ping)
        with redis.Redis.from_url(settings.redis_url) as client:
            yield client


def test_a_worker_gets_the_next_message_even_if_redis_refused_the_last_acknowledgement(server: redis.Redis) -> None:
    use_for_redis()
    taken: list[str] = []
    port = server.connection_pool.connection_kwargs["port"]
    with Connection(f"redis://127.0.0.1:{port}/0") as connection, connection.SimpleQueue("work") as queue:
        queue.put("first")
        queue.put("second")

        def work(body: str, message: object) -> None:
            taken.append(body)
            server.config_set("min-replicas-to-write", 1)  # Redis refuses writes, as it does if its disk is full
            message.ack_log_error(None, connection.connection_errors)  # type: ignore[attr-defined]
            server.config_set("min-replicas-to-write", 0)

        with (
            connection.channel() as channel,
            Consumer(channel, Queue("work"), callbacks=[work], accept=["text/plain"]) as consumer,
        ):
            consumer.qos(prefetch_count=1)
            for _ in range(2):
                connection.drain_events(timeout=5)
    assert taken == ["first", "second"]
