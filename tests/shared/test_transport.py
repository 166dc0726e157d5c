"""Messages through a Redis that for a while refuses to write."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection, Consumer, Queue

from deploy.family import Family
from deploy.local import free_port, redis_command
from shared.records import Records
from shared.settings import Settings
from shared.transport import use_for_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    """A Redis of our own, which can be told to refuse."""
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    (tmp_path / "log").mkdir()
    family = Family(tmp_path, dict(os.environ))
    with family.run("redis", redis_command(tmp_path, settings)):
        family.wait_for("redis", Records(settings).ping)
        with redis.Redis.from_url(settings.redis_url) as client:
            yield client


def test_a_worker_of_one_place_goes_on_where_redis_refused_to_note_that_it_was_done(server: redis.Redis) -> None:
    use_for_redis()
    taken: list[str] = []
    port = server.connection_pool.connection_kwargs["port"]
    with Connection(f"redis://127.0.0.1:{port}/0") as connection, connection.SimpleQueue("work") as queue:
        queue.put("first")
        queue.put("second")

        def work(body: str, message: object) -> None:
            taken.append(body)
            server.config_set("min-replicas-to-write", 1)  # as a full disk does
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
