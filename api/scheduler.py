"""The process that starts scheduled audits: `python -m api.scheduler`. Any number can run; one works at a time.

The work runs in this process and not in workers: it is short, needs no GPU, and must not wait for jobs. A task is
marked as done only after it has run, so a process that dies in between loses nothing, and an audit that is requested
twice is made once.
"""

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import structlog
from celery import Celery
from celery.beat import Service
from celery.schedules import crontab
from celery.schedules import schedule as every
from redis.exceptions import LockError, RedisError

from api.adapters.redbeat import RUN_SCHEDULE, InProcessScheduler, sync_entries
from api.dependencies import Services, connect
from api.services.mlflow.import_thread import start_imports
from api.services.mlflow.write_back import write_pending_verdicts
from api.services.run_schedules import audit_new_releases, list_schedules, reconcile, run_schedule
from shared.errors import Problem
from shared.process.liveness import touch_liveness_file
from shared.process.logging import configure_logging
from shared.process.parent import die_with_parent
from shared.settings import Settings
from shared.state.keys import key
from shared.state.redis_client import exit_if_cluster

log = structlog.get_logger()

WRITE_BACK_SECONDS = 5
"""Interval between two checks for verdicts to write to a registry."""

TICK_SECONDS = 2
LOCK_SECONDS = 60
"""A scheduler that is silent for longer loses the lock to another one."""

RESTART_SECONDS = 3.0
"""Pause before a new start if Redis does not answer."""

POLL, RECONCILE, WRITE_BACK = "archetype.look", "archetype.reconcile", "archetype.write_back"
"""Names of the periodic tasks. Entries in Redis contain them, so they cannot change."""


def create_scheduler(settings: Settings, services: Services) -> Celery:
    """Returns the Celery application of the scheduler, with its periodic tasks."""
    app = Celery("archetype-scheduler", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        beat_scheduler=InProcessScheduler,
        beat_max_loop_interval=TICK_SECONDS,
        redbeat_redis_url=settings.redis_url,
        redbeat_redis_use_ssl=settings.redis_tls or None,
        redbeat_redis_options={"socket_timeout": 10, "socket_connect_timeout": 4, "health_check_interval": 25},
        redbeat_key_prefix=key("redbeat:"),
        redbeat_lock_timeout=LOCK_SECONDS,
        worker_hijack_root_logger=False,
        archetype_liveness_dir=settings.liveness_dir,
        beat_schedule={
            "look": {"task": POLL, "schedule": every(timedelta(seconds=settings.scheduler_poll_seconds))},
            "write-back": {"task": WRITE_BACK, "schedule": every(timedelta(seconds=WRITE_BACK_SECONDS))},
            "reconcile": {"task": RECONCILE, "schedule": crontab(minute="17", hour="4")},
        },
    )

    @app.task(name=RUN_SCHEDULE, shared=False)
    def run_one(tenant: str, schedule: str) -> None:
        run_schedule(tenant, schedule, services)

    @app.task(name=POLL, shared=False)
    def poll_store() -> None:
        poll(app, services)

    @app.task(name=RECONCILE, shared=False)
    def reconcile_all() -> None:
        reconcile(services)

    @app.task(name=WRITE_BACK, shared=False)
    def write_back() -> None:
        write_pending_verdicts(services)

    return app


def poll(app: Celery, services: Services) -> None:
    """Copies changes of the stored schedules to Redis, and audits new releases."""
    schedules = list_schedules(services)
    sync_entries(app, schedules)
    audit_new_releases(schedules, services)


def main() -> None:
    """Runs the scheduler until a signal stops it."""
    die_with_parent()
    settings = Settings()
    configure_logging(settings)
    exit_if_cluster(settings)
    services = connect(settings)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, stop)
    start_imports(services)
    log.info("scheduler.ready")
    run_until_stopped(lambda: build_beat(settings, services))


def build_beat(settings: Settings, services: Services) -> Service:
    """Returns a new beat service of Celery."""
    touch_liveness_file(settings.liveness_dir, "scheduler")
    return Service(create_scheduler(settings, services), scheduler_cls=InProcessScheduler)


def run_until_stopped(build: Callable[[], Service]) -> None:
    """Runs a beat service. If Redis or the store does not answer, starts a new one after a pause."""
    while True:
        try:
            build().start()
        except (RedisError, LockError, Problem) as error:
            log.warning("scheduler.interrupted", error=str(error)[:200])
            time.sleep(RESTART_SECONDS)
        else:
            return


def stop(_signal: int, _frame: FrameType | None) -> None:
    """Ends the process, as the handler of a signal."""
    raise SystemExit


if __name__ == "__main__":
    main()
