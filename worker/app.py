"""The Celery application of a worker: `celery -A worker.app worker -Q interactive,bulk`. Three tasks, and the sweep."""

import os
import signal
import socket
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import structlog
from billiard import active_children
from celery.signals import celeryd_after_setup, worker_process_init, worker_ready, worker_shutting_down

from shared.broker import ECHO, FORMAT, HEADER, QUEUES, RUN, TRY, count_messages, create_broker, send_echo, send_job
from shared.bucket import Bucket
from shared.catalogue import load_catalogue
from shared.claims import Claims
from shared.errors import Unavailable
from shared.life import ECHO_EVERY, every, show_life
from shared.log import configure_logging
from shared.presence import Presence, name_queue
from shared.process import die_with_parent
from shared.records import Records
from shared.registry import Registry
from shared.settings import Settings
from shared.storage import Storage
from shared.tracing import trace_process
from worker.sweep import Leases, Sweep, Sweeper

if TYPE_CHECKING:
    from celery import Task

    from worker.attempt import Bench

STOP = signal.SIGUSR2
"""What tells the child that works to give back what it has; SIGTERM and SIGUSR1 are Celery's own."""

log = structlog.get_logger()
settings = Settings()
app = create_broker(settings)


@app.task(name=RUN, acks_late=True, bind=True)
def run(self: "Task[Any, Any]", /, *_message: object, **_more: object) -> None:
    """Works on what comes first, whichever job the message points at: what goes wrong is in the jobs' records."""
    from worker.lane_run import run_next_lane

    if (self.request.headers or {}).get(HEADER, FORMAT) > FORMAT:
        log.warning("message.newer", advice="newer versions send messages: upgrade this worker")
    worker = str(self.request.hostname)
    report(worker, busy=True)
    try:
        if run_next_lane(bench(), wake_others):
            wake_others()
    except Unavailable as problem:
        log.warning("run.interrupted", error=problem.detail)  # the sweep sends another message
    finally:
        report(worker, busy=False)


def wake_others() -> None:
    """Sends a message if something waits and nobody is on the way to it."""
    with suppress(Unavailable):
        if bench().claims.is_waiting() and not count_messages(app):
            send_job(app, "", QUEUES[0])


def report(worker: str, *, busy: bool) -> None:
    """Says which networks this worker holds; it works as well where nobody hears it."""
    with suppress(Unavailable):
        presence().report(worker, bench().networks.references, busy=busy, memory=held_memory())


def held_memory() -> int:
    """Bytes of a GPU's memory that this process holds."""
    import torch

    device = bench().device
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0


@cache
def presence() -> Presence:
    return Presence(Records(settings))


@app.task(name=ECHO)
def echo() -> None:
    """It takes messages."""
    show_life(settings.life, "worker")


@app.task(name=TRY, acks_late=True)
def try_release(name: str, release: str) -> None:
    """Loads a release that was registered; what became of it is in the store."""
    from worker.trial import try_registered

    try_registered(bench(), name, release)


@cache
def bench() -> "Bench":
    """What this process works with. torch is imported here: only the pool's child needs it."""
    import torch

    from worker.attempt import Bench
    from worker.downloads import Cache
    from worker.networks import Loader, Networks
    from worker.plans import Plans
    from worker.weight_files import WeightFiles

    name = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    device = torch.device(name)
    bucket = Bucket(settings)
    storage = Storage(bucket)
    files = WeightFiles(Cache(settings.cache, settings.max_weights_bytes), bucket)
    loader = Loader(settings.factories, files, settings.allow_programs)
    return Bench(
        settings=settings,
        records=(records := Records(settings)),
        claims=Claims(records),
        storage=storage,
        catalogue=load_catalogue(settings.catalogue, Registry(storage)),
        networks=Networks(loader, device=device, memory=settings.network_memory),
        plans=Plans(settings.plans),
        device=device,
        owner=f"{socket.gethostname()}:{os.getpid()}",
    )


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Before the first job: imports, and a look at every release that no worker has described yet."""
    die_with_parent()
    configure_logging(settings)
    trace_process(settings, "archetype-worker")
    signal.signal(STOP, lambda *_: bench().stopping.set())
    from worker.networks import describe_releases

    describe_releases(bench().catalogue, bench().networks, bench().storage, bench().records)


@celeryd_after_setup.connect
def add_own_queue(sender: str, instance: Any, **_: Any) -> None:
    """This worker's own queue, looked at before all others: whoever sends there knows why."""
    queues = instance.app.amqp.queues
    others = list(queues.consume_from)
    queues.select_add(name_queue(sender))
    queues.select([name_queue(sender), *others])


@worker_ready.connect
def start_sweeping(sender: Any, **_: Any) -> None:
    """In the parent, which has no torch and no job: it can always look after what the child lost."""
    configure_logging(settings)
    with suppress(Unavailable):
        presence().report(sender.hostname, [], busy=False)
    sweeper().also(partial(presence().renew, sender.hostname))
    if settings.life is not None:
        sweeper().also(every(ECHO_EVERY, partial(ask_itself, sender.hostname)))
    sweeper().start()
    log.info("worker.ready")


def ask_itself(worker: str) -> None:
    """Sends the message by which it hears that it takes messages. Without Redis it cannot, and a restart is no help."""
    try:
        send_echo(app, name_queue(worker))
    except Unavailable:
        show_life(settings.life, "worker")
        raise


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """The child gives back what it has, and Celery, which waits for it, ends with nothing lost."""
    for child in active_children():
        if child.pid is not None:
            os.kill(child.pid, STOP)
    sweeper().stop()


@cache
def sweeper() -> Sweeper:
    records = Records(settings)
    storage, leases = Storage(Bucket(settings)), Leases(settings.lease_seconds)
    return Sweeper(Sweep(settings, records, Claims(records), storage, create_broker(settings), leases))
