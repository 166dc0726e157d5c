"""The Celery application of a worker: `celery -A worker.app worker -Q interactive,bulk`.

The parent process runs the recovery and shows that the worker is alive. Its child process runs the jobs.
"""

import os
import signal
import socket
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import structlog
from billiard import active_children, current_process
from celery.signals import celeryd_after_setup, worker_process_init, worker_ready, worker_shutting_down

from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.registered import RegisteredReleases
from shared.errors import Unavailable
from shared.process.check_settings import check_settings
from shared.process.liveness import ECHO_INTERVAL_SECONDS, throttle, touch_liveness_file
from shared.process.logging import configure_logging
from shared.process.parent import die_with_parent
from shared.process.tracing import configure_tracing
from shared.queue.celery_app import (
    CHECK_RELEASE,
    ECHO,
    MESSAGE_FORMAT,
    MESSAGE_FORMAT_HEADER,
    QUEUES,
    RUN,
    count_messages,
    create_broker,
    send_echo,
    send_job,
)
from shared.queue.claims import Claims
from shared.queue.kombu_transport import RELEASES
from shared.queue.release_queue import ReleaseQueue, send_next_check
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient, exit_if_cluster
from shared.state.worker_registry import WorkerRegistry, name_queue
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from worker.execution.recovery import LeaseMonitor, Recovery, RecoveryThreads

if TYPE_CHECKING:
    from celery import Task

    from worker.execution.worker_context import WorkerContext

STOP = signal.SIGUSR2
"""Tells the child process to return its shards. Celery uses SIGTERM and SIGUSR1 itself."""

log = structlog.get_logger()
settings = Settings()
check_settings(settings)
app = create_broker(settings)


@app.task(name=RUN, acks_late=True, bind=True)
def run(self: "Task[Any, Any]", /, *_message: object, **_more: object) -> None:
    """Runs the lane of the next shard in the queue, whichever job the message names; errors are stored in the jobs."""
    from worker.execution.lane_runner import run_next_lane

    if (self.request.headers or {}).get(MESSAGE_FORMAT_HEADER, MESSAGE_FORMAT) > MESSAGE_FORMAT:
        log.warning("message.newer", advice="newer versions send messages: upgrade this worker")
    worker = str(self.request.hostname)
    register(worker, busy=True)
    try:
        if run_next_lane(worker_context(), wake_others):
            wake_others()
            wake_for_newer_shards(worker, worker_context().claims)
    except Unavailable as problem:
        log.warning("run.interrupted", error=problem.detail)  # the recovery sends another message
    finally:
        register(worker, busy=False)


def wake_others() -> None:
    """Sends a message if shards wait in the queue and no message is on its way."""
    with suppress(Unavailable):
        if worker_context().claims.is_waiting() and not count_messages(app):
            send_job(app, "", QUEUES[0])


def wake_for_newer_shards(worker: str, claims: Claims, locks: Locks | None = None) -> None:
    """Sends this worker a message if shards wait that it can read, and that workers of another version cannot read.

    Args:
        worker: Its name.
        claims: The claims.
        locks: If given, the worker also looks for shards that earlier versions have parked, when it is its turn.
    """
    looks = locks is not None and locks.take_turn("offer", settings.sweep_seconds)
    if claims.offer(looks=looks) and not count_messages(app, [name_queue(worker)]):
        send_job(app, "", name_queue(worker))


def register(worker: str, *, busy: bool) -> None:
    """Writes the networks that this worker has loaded to the worker registry, if Redis answers."""
    with suppress(Unavailable):
        worker_registry().report(
            worker, worker_context().networks.identities, busy=busy, memory=measure_reserved_memory()
        )


def measure_reserved_memory() -> int:
    """Returns the bytes of GPU memory that this process has reserved."""
    import torch

    device = worker_context().device
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0


@cache
def worker_registry() -> WorkerRegistry:
    """Returns the worker registry of this process."""
    return WorkerRegistry(RedisClient(settings))


@app.task(name=ECHO)
def echo() -> None:
    """Shows that this worker is alive: it has received its own message."""
    touch_liveness_file(settings.liveness_dir, "worker")


@app.task(name=CHECK_RELEASE, acks_late=True, bind=True)
def check_release(self: "Task[Any, Any]", /, name: str, release: str, tenant: str | None = None) -> None:
    """Checks the next registered release of a tenant, and stores the decision."""
    from worker.execution.release_check import check_next_release

    worker = str(self.request.hostname)
    register(worker, busy=True)
    try:
        if check_next_release(worker_context(), f"{name}@{release}", tenant):
            with suppress(Unavailable):
                send_next_check(tenant, ReleaseQueue(worker_context().redis_client), app)
    finally:
        register(worker, busy=False)


@cache
def worker_context() -> "WorkerContext":
    """Returns the context of this process. It imports torch here, because only the child process needs it."""
    import torch

    from worker.execution.worker_context import WorkerContext
    from worker.models.download_cache import DownloadCache
    from worker.models.loader import Loader, ModelCache
    from worker.models.plan_cache import PlanCache
    from worker.models.weight_files import WeightFiles

    name = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    device = torch.device(name)
    bucket = Bucket(settings)
    storage = JobStore(bucket)
    files = WeightFiles(DownloadCache(settings.cache, settings.max_weights_bytes, settings.cache_bytes), bucket)
    loader = Loader(settings.factories, files, settings.exported_programs)
    return WorkerContext(
        settings=settings,
        redis_client=(redis_client := RedisClient(settings)),
        job_index=JobIndex(redis_client),
        locks=Locks(redis_client),
        claims=Claims(redis_client, settings.tenant_shares),
        storage=storage,
        outbox=Outbox(redis_client, bucket),
        catalogue=load_catalogue(settings.catalogue, RegisteredReleases(storage)),
        networks=ModelCache(loader, device=device, memory=settings.network_memory),
        plans=PlanCache(settings.plan_cache),
        device=device,
        owner=f"{socket.gethostname()}:{os.getpid()}",
    )


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Prepares the child process: imports torch, and describes the releases that no worker has described yet."""
    die_with_parent(getattr(current_process(), "_parent_pid", None))
    configure_logging(settings)
    configure_tracing(settings, "archetype-worker")
    signal.signal(STOP, lambda *_: worker_context().stopping.set())
    from worker.execution.heartbeat import HeartbeatThread
    from worker.models.trial import describe_releases

    context = worker_context()
    heartbeats = HeartbeatThread(settings.step_seconds, settings.liveness_dir)
    with heartbeats.beating():
        describe_releases(context.catalogue, context.networks, context.storage, context.locks, heartbeats.show_activity)


@celeryd_after_setup.connect
def add_queues(sender: str, instance: Any, **_: Any) -> None:
    """Adds the queue of release checks, and this worker's own, to which the API sends jobs whose network it has."""
    queues = instance.app.amqp.queues
    names = list(dict.fromkeys([name_queue(sender), *queues.consume_from, RELEASES]))
    for name in names:
        queues.select_add(name)
    queues.select(names)


@worker_ready.connect
def start_recovery(sender: Any, **_: Any) -> None:
    """Starts the recovery in the parent process, which runs no job and can act when the child process is lost."""
    configure_logging(settings)
    exit_if_cluster(settings)
    with suppress(Unavailable):
        worker_registry().report(sender.hostname, [], busy=False)
    recovery_threads().add_chore(partial(worker_registry().renew, sender.hostname))
    redis_client = RedisClient(settings)
    claims, locks = Claims(redis_client), Locks(redis_client)
    recovery_threads().add_chore(partial(wake_for_newer_shards, sender.hostname, claims, locks))
    if settings.liveness_dir is not None:
        recovery_threads().add_chore(throttle(ECHO_INTERVAL_SECONDS, partial(send_own_echo, sender.hostname)))
    recovery_threads().start()
    log.info("worker.ready")


def send_own_echo(worker: str) -> None:
    """Sends this worker the message that shows that it receives messages.

    Without Redis this is impossible, and a restart does not help. So the worker counts as alive.
    """
    try:
        send_echo(app, name_queue(worker))
    except Unavailable:
        touch_liveness_file(settings.liveness_dir, "worker")
        raise


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Tells the child process to return its shards; Celery waits for it, then ends."""
    for child in active_children():
        if child.pid is not None:
            os.kill(child.pid, STOP)
    recovery_threads().stop()


@cache
def recovery_threads() -> RecoveryThreads:
    """Returns the recovery of this process."""
    redis_client, bucket = RedisClient(settings), Bucket(settings)
    recovery = Recovery(
        settings=settings,
        redis_client=redis_client,
        job_index=JobIndex(redis_client),
        locks=Locks(redis_client),
        claims=Claims(redis_client, settings.tenant_shares),
        storage=JobStore(bucket),
        outbox=Outbox(redis_client, bucket),
        broker=create_broker(settings),
        leases=LeaseMonitor(settings.lease_seconds),
    )
    return RecoveryThreads(recovery)
