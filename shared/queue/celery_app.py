"""The Celery application of the API and the workers: its settings, tasks, queues, and the sending of messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery

from shared.queue.kombu_transport import RELEASES, TURNS, use_for_redis
from shared.settings import Settings
from shared.state.redis_client import unavailable

RUN = "archetype.run"
"""Name of the task that wakes a worker. Its argument is a job id; the worker claims whichever shard is next."""

CHECK_RELEASE = "archetype.try_release"
"""Name of the task that checks a registered release. Its arguments are name and release, and the tenant if it is a
tenant's own release; the worker checks whichever release of this tenant is next."""

ECHO = "archetype.echo"
"""Name of the task that a worker sends to itself, to find out whether it still receives messages."""

ECHO_SECONDS = 600
"""How long the queue of a worker that no longer runs is kept."""

MESSAGE_FORMAT = 1
"""Version of the messages."""

MESSAGE_FORMAT_HEADER = "archetype_format"
"""Header of a message that contains its version."""

QUEUES = ("interactive", "bulk")
"""The queues of jobs, in the order in which workers read them."""

MAX_MESSAGES = 1000
"""Messages in one queue of jobs. A message only wakes a worker, so that more of them have no effect."""

RETRY_PAUSES = {"interval_start": 0.05, "interval_step": 0.2, "interval_max": 0.5}
"""Seconds between two attempts to send a message."""


def create_broker(settings: Settings) -> Celery:
    """The Celery application: the API sends messages with it, and workers run with its configuration."""
    use_for_redis()
    time_limit = int(settings.lane_seconds + settings.job_seconds + 2 * settings.step_seconds)
    app = Celery("archetype", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        # One child process that is spawned: CUDA does not survive a fork, and only this pool has time limits.
        worker_pool="prefork",
        worker_pool_start_method="spawn",
        worker_concurrency=1,
        worker_proc_alive_timeout=120,  # the child imports torch before it reports
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_acks_late=True,
        task_ignore_result=True,
        # The last resort: a worker that hangs stops itself earlier, and each attempt has its own limit.
        task_time_limit=time_limit,
        accept_content=["json"],
        broker_use_ssl=settings.redis_tls or None,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # Redis may be unavailable for an hour
        broker_connection_timeout=4,
        broker_transport_options={
            # Longer than the time limit: otherwise a long task would be delivered again while it still runs.
            "visibility_timeout": time_limit + 600,
            "queue_order_strategy": TURNS,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "socket_timeout": 30,
            "socket_connect_timeout": 4,
        },
        task_publish_retry_policy={"max_retries": 3} | RETRY_PAUSES,
        task_create_missing_queues=True,
        task_default_queue=QUEUES[0],
    )
    return app


def send_job(broker: Celery, job_id: str, queue: str) -> None:
    """Sends a message that wakes a worker, unless `MAX_MESSAGES` wait in the queue. Raises `Unavailable`.

    Args:
        broker: The Celery application.
        job_id: A job, for logs; empty if the message is about no particular job.
        queue: One of `QUEUES`, or the queue of one worker.
    """
    with _translated(), broker.producer_pool.acquire(block=True) as producer:
        if not _is_full(producer, queue):
            _send(broker, RUN, [job_id], queue, producer)


def _is_full(producer: Any, queue: str) -> bool:
    """Whether enough messages wait in a queue; False if Redis does not tell at the first attempt."""
    with suppress(Exception):  # sending tries again, and explains the error
        return int(producer.channel.client.llen(queue)) >= MAX_MESSAGES
    return False


def send_release(broker: Celery, name: str, release: str, tenant: str | None = None) -> None:
    """Sends a message that makes a worker check a registered release. Raises `Unavailable`."""
    _send(broker, CHECK_RELEASE, [name, release] if tenant is None else [name, release, tenant], RELEASES)


def send_echo(broker: Celery, queue: str) -> None:
    """Sends a message to a worker's own queue, unless the last one still waits there. Raises `Unavailable`."""
    with _channel(broker) as client:
        is_waiting = bool(client.llen(queue))
    if not is_waiting:
        _send(broker, ECHO, [], queue)
    with _channel(broker) as client:
        client.expire(queue, ECHO_SECONDS)


@contextmanager
def _channel(broker: Celery) -> Iterator[Any]:
    """The broker's own connection to Redis. Raises `Unavailable`."""
    with _translated(), broker.connection_for_read() as connection:
        yield connection.default_channel.client  # type: ignore[attr-defined]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # kombu does not translate the errors of its transports
        raise unavailable() from error


def _send(broker: Celery, task: str, arguments: list[str], queue: str, producer: Any = None) -> None:
    headers = {MESSAGE_FORMAT_HEADER: MESSAGE_FORMAT}
    with _translated():
        broker.send_task(task, args=arguments, queue=queue, headers=headers, producer=producer)


def count_messages(broker: Celery, queues: Sequence[str] = QUEUES) -> int:
    """Number of messages that wait in queues. Raises `Unavailable`."""
    with _channel(broker) as client:
        return sum(int(client.llen(queue)) for queue in queues)
