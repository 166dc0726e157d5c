"""Celery as both sides see it: where messages go, and how a worker must treat them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from shared.errors import Unavailable
from shared.settings import Settings
from shared.transport import use_for_redis

RUN = "archetype.run"
"""The one task: its argument is a job's id and nothing else. It wakes a worker, which takes what comes first."""

TRY = "archetype.try_release"
"""What loads a release that was registered: its arguments are name and release."""

ECHO = "archetype.echo"
"""What a worker sends to itself, to hear whether it takes messages."""

ECHO_SECONDS = 600
"""For so long the queue of a worker that is gone is kept."""

FORMAT, HEADER = 1, "archetype_format"
"""Of messages, and where they say it."""

QUEUES = ("interactive", "bulk")
"""In the order in which workers look at them."""


def create_broker(settings: Settings) -> Celery:
    """A Celery application that can send, and whose configuration a worker runs with."""
    use_for_redis()
    app = Celery("archetype", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        # One child that is started afresh: CUDA does not survive a fork, and only this pool has time limits.
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
        # A net under nets: a worker that hangs ends itself, and an attempt has a limit of its own.
        task_time_limit=int(settings.lane_seconds + settings.job_seconds + 2 * settings.step_seconds),
        accept_content=["json"],
        broker_use_ssl=settings.redis_tls or None,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # Redis may be away for an hour
        broker_connection_timeout=4,
        broker_transport_options={
            # Longer than the hard limit: a task that outlives it would be delivered again and again.
            "visibility_timeout": int(settings.lane_seconds + settings.job_seconds + 2 * settings.step_seconds) + 600,
            "queue_order_strategy": "priority",
            "socket_keepalive": True,
            "health_check_interval": 25,
            "socket_timeout": 30,
            "socket_connect_timeout": 4,
        },
        task_create_missing_queues=True,
        task_default_queue=QUEUES[0],
    )
    return app


def send_job(broker: Celery, job_id: str, queue: str) -> None:
    """Sends the message that points at a job. Raises `Unavailable`."""
    _send(broker, RUN, [job_id], queue)


def send_release(broker: Celery, name: str, release: str) -> None:
    """Sends the message that points at a release to be tried. Raises `Unavailable`."""
    _send(broker, TRY, [name, release], QUEUES[0])


def send_echo(broker: Celery, queue: str) -> None:
    """Sends a worker's message to itself, unless the last one still waits. Raises `Unavailable`."""
    with _channel(broker) as client:
        waits = int(client.llen(queue))
    if not waits:
        _send(broker, ECHO, [], queue)
    with _channel(broker) as client:
        client.expire(queue, ECHO_SECONDS)


@contextmanager
def _channel(broker: Celery) -> Iterator[Any]:
    """Redis, as the broker speaks to it. Raises `Unavailable`."""
    try:
        with broker.connection_for_read() as connection:
            yield connection.default_channel.client  # type: ignore[attr-defined]
    except Exception as error:  # kombu lets every transport's own errors through
        raise Unavailable("the queue (Redis) does not answer; try again in a moment") from error


def _send(broker: Celery, task: str, arguments: list[str], queue: str) -> None:
    retry = {"max_retries": 3, "interval_start": 0.05, "interval_step": 0.2, "interval_max": 0.5}
    try:
        headers = {HEADER: FORMAT}
        broker.send_task(task, args=arguments, queue=queue, headers=headers, retry=True, retry_policy=retry)
    except Exception as error:  # kombu lets every transport's own errors through
        raise Unavailable("the queue (Redis) does not take messages; try again in a moment") from error


def count_messages(broker: Celery) -> int:
    """How many messages wait in all queues. Raises `Unavailable`."""
    with _channel(broker) as client:
        return sum(int(client.llen(queue)) for queue in QUEUES)
