"""The messages that wake workers: the same commands in Redis as kombu's, without its threads and connections."""

import json
from collections import deque
from secrets import token_hex

from greenlet import getcurrent, greenlet

from benchmarks.scale.clock import SimulatedClock
from benchmarks.scale.metered_redis import MeteredRedisClient
from shared.queue.celery_app import MAX_MESSAGES, QUEUES
from shared.state.worker_registry import name_queue

BODY = json.dumps({"body": "W1siam9iIl1d", "headers": {"task": "archetype.run", "id": token_hex(16)}, "pad": "x" * 500})
"""A message of the usual size."""

POLL_SECONDS = 1.0
"""How long a worker waits in Redis for a message before it asks again."""


class Messages:
    """The queues of the broker."""

    def __init__(self, redis_client: MeteredRedisClient, clock: SimulatedClock) -> None:
        self._redis_client, self._clock = redis_client, clock
        self._idle: deque[greenlet] = deque()

    def send(self, _broker: object, _job_id: str, queue: str) -> None:
        """Puts a message into a queue, unless it is full, and wakes a worker; called in place of `send_job`."""
        with self._redis_client.connection() as redis:
            if int(redis.llen(queue)) < MAX_MESSAGES:
                redis.lpush(queue, BODY)
        if self._idle:
            self._clock.wake(self._idle.popleft())

    def count(self, _broker: object) -> int:
        """Number of messages that wait; called in place of `count_messages`."""
        with self._redis_client.connection() as redis:
            return sum(int(redis.llen(queue)) for queue in QUEUES)

    def wake_others(self) -> None:
        """Sends a message if shards wait and no message is on its way, as a worker does."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.exists("archetype:lanes:interactive", "archetype:lanes:bulk")
            for queue in QUEUES:
                pipe.llen(queue)
            is_waiting, *counts = pipe.execute()
        if is_waiting and not sum(counts):
            self.send(None, "", QUEUES[0])

    def receive(self, worker: str) -> str | None:
        """Takes a message, or waits for a second; returns its tag."""
        tag = token_hex(16)
        with self._redis_client.connection() as redis:
            for queue in (name_queue(worker), *QUEUES):
                if redis.rpop(queue) is not None:
                    with redis.pipeline(transaction=True) as pipe:
                        pipe.zadd("unacked_index", {tag: self._clock.seconds})
                        pipe.hset("unacked", tag, BODY)
                        pipe.execute()
                    return tag
        self._idle.append(getcurrent())
        self._clock.sleep(POLL_SECONDS)
        if getcurrent() in self._idle:
            self._idle.remove(getcurrent())
        return None

    def acknowledge(self, tag: str) -> None:
        """Removes a message whose task has ended."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.zrem("unacked_index", tag)
            pipe.hdel("unacked", tag)
            pipe.execute()
