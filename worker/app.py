"""The Celery application of a worker: `celery -A worker.app worker -Q interactive,bulk`. Two tasks, and the sweep."""

from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import structlog
from celery.signals import celeryd_after_setup, worker_process_init, worker_ready, worker_shutting_down

from shared.broker import RUN, TRY, create_broker
from shared.bucket import Bucket
from shared.catalogue import load_catalogue
from shared.errors import Unavailable
from shared.log import configure_logging
from shared.presence import Presence, name_queue
from shared.process import die_with_parent
from shared.records import Records
from shared.registry import Registry
from shared.settings import Settings
from shared.storage import Storage
from worker.sweep import Sweeper

if TYPE_CHECKING:
    from celery import Task

    from worker.attempt import Bench

log = structlog.get_logger()
settings = Settings()
app = create_broker(settings)


@app.task(name=RUN, acks_late=True, bind=True)
def run(self: "Task[[str], None]", job_id: str) -> None:
    """Makes an attempt at a job. What goes wrong is in the job's record, not in Celery's."""
    from worker.attempt import run_job

    worker = str(self.request.hostname)
    report(worker, busy=True)
    try:
        run_job(bench(), job_id)
    finally:
        report(worker, busy=False)


def report(worker: str, *, busy: bool) -> None:
    """Says which networks this worker holds; it works as well where nobody hears it."""
    with suppress(Unavailable):
        presence().report(worker, bench().networks.references, busy=busy)


@cache
def presence() -> Presence:
    return Presence(Records(settings))


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
        records=Records(settings),
        storage=storage,
        catalogue=load_catalogue(settings.catalogue, Registry(storage)),
        networks=Networks(loader, device=device, memory=settings.network_memory),
        plans=Plans(settings.plans),
        device=device,
    )


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Before the first job: imports, and a look at every release that no worker has described yet."""
    die_with_parent()
    configure_logging(settings)
    from worker.networks import describe_releases

    describe_releases(bench().catalogue, bench().networks, bench().storage)


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
    sweeper().start()
    log.info("worker.ready")


@worker_shutting_down.connect
def stop_sweeping(**_: Any) -> None:
    sweeper().stop()


@cache
def sweeper() -> Sweeper:
    return Sweeper(settings, Records(settings), Storage(Bucket(settings)), create_broker(settings))
