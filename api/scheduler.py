"""The scheduler: `python -m api.scheduler`. Any number may run; RedBeat's lock lets one of them work at a time.

RedBeat keeps what is due in Redis and says when. What is due is done here and not sent to a worker: it takes a moment,
needs no GPU, and must not wait behind what does. Only what was done is ticked off, so that nothing is lost where this
process dies in between; and an audit that is asked for twice is made once.
"""

import signal
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import FrameType
from typing import Any

import structlog
from celery import Celery
from celery.beat import Service
from celery.schedules import crontab
from celery.schedules import schedule as every
from redbeat.schedulers import RedBeatScheduler, RedBeatSchedulerEntry, ensure_conf, get_redis
from redis.exceptions import LockError, RedisError

from api.mlflow import write_all_back
from api.services import Services, connect
from api.triggering import LATER, find_due, find_failed, find_missing, trigger
from shared.catalogue import Release
from shared.counters import count, note
from shared.cron import Cron, spread
from shared.errors import Problem
from shared.jobs import now
from shared.life import show_life
from shared.log import configure_logging
from shared.process import die_with_parent
from shared.records import key
from shared.schedules import ScheduleStore, StoredSchedule
from shared.settings import Settings

log = structlog.get_logger()

WRITE_SECONDS = 5
"""How often verdicts to be written back are looked for."""

TICK_SECONDS = 2
LOCK_SECONDS = 60
"""A scheduler that is silent for longer has lost its place to another one."""

REST_SECONDS = 3.0
FIRE, LOOK, RECONCILE, WRITE = (f"archetype.{name}" for name in ("fire", "look", "reconcile", "write_back"))
PREFIX = "schedule:"


class Due(RedBeatSchedulerEntry):  # type: ignore[misc]
    """Something that is due now and then; RedBeat stores lines of cron without their time zone, and this one does."""

    def __init__(self, *args: Any, **said: Any) -> None:
        if said.get("task") == FIRE:
            said["schedule"] = Cron(**said["options"]["cron"])
        super().__init__(*args, **said)


class Clock(RedBeatScheduler):  # type: ignore[misc]
    """Does what is due itself."""

    Entry = Due

    def tick(self, *args: Any, **more: Any) -> float:
        show_life(self.app.conf.archetype_life, "scheduler")
        if self.lock is None:  # Celery hides what went wrong when it was asked for
            raise LockError("Redis gave no lock")
        return float(super().tick(*args, **more))

    def apply_async(self, entry: Due, advance: bool = True, **_: object) -> None:
        """Does it, and only then ticks it off. What fails is due still, at the next tick."""
        try:
            self.app.tasks[entry.task](**entry.kwargs)
        except Problem as problem:
            log.warning("scheduler.unable", duty=entry.name, error=problem.detail)
            return
        except Exception:
            log.exception("scheduler.failed", duty=entry.name)
            return
        if advance:
            self.reserve(entry)


def create_scheduler(settings: Settings, here: Services) -> Celery:
    """The Celery application that RedBeat runs with, and what it can be asked to do."""
    app = Celery("archetype-scheduler", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        beat_scheduler=Clock,
        beat_max_loop_interval=TICK_SECONDS,
        redbeat_redis_url=settings.redis_url,
        redbeat_redis_use_ssl=settings.redis_tls or None,
        redbeat_redis_options={"socket_timeout": 10, "socket_connect_timeout": 4, "health_check_interval": 25},
        redbeat_key_prefix=key("redbeat:"),
        redbeat_lock_timeout=LOCK_SECONDS,
        worker_hijack_root_logger=False,
        archetype_life=settings.life,
        beat_schedule={
            "look": {"task": LOOK, "schedule": every(timedelta(seconds=settings.look_seconds))},
            "write-back": {"task": WRITE, "schedule": every(timedelta(seconds=WRITE_SECONDS))},
            "reconcile": {"task": RECONCILE, "schedule": crontab(minute="17", hour="4")},
        },
    )

    @app.task(name=FIRE, shared=False)
    def fire_one(tenant: str, schedule: str) -> None:
        fire(tenant, schedule, here)

    @app.task(name=LOOK, shared=False)
    def look_around() -> None:
        look(app, here)

    @app.task(name=RECONCILE, shared=False)
    def reconcile_all() -> None:
        reconcile(here)

    @app.task(name=WRITE, shared=False)
    def write_back() -> None:
        write_all_back(here)

    return app


def fire(tenant: str, schedule: str, here: Services) -> None:
    """What a line of cron asks for: the newest release is audited, unless it was."""
    found = ScheduleStore(here.storage.bucket).find(tenant, schedule)
    count(here.records, "archetype_schedules_fired", "gone" if found is None else "fired")
    if found is None:
        return
    log.info("schedule.fired", schedule=found.id, model=found.model)
    for release in find_failed(found, find_due(found, here)[-1:], here):
        trigger(found, release, here)


def look(app: Celery, here: Services) -> None:
    """Brings what Redis knows of schedules up to date, and audits releases that have come."""
    schedules = list(ScheduleStore(here.storage.bucket).walk())
    keep_entries(app, schedules)
    for schedule in schedules:
        audit(schedule, find_missing, here)
    note(here.records, "archetype_audits_missing", sum(count_missing(schedule, here) for schedule in schedules))
    note(here.records, "archetype_scheduler_looked_timestamp_seconds", now().timestamp())


def count_missing(schedule: StoredSchedule, here: Services) -> int:
    """How many releases are still without an audit; one of which that cannot be said lacks one."""
    try:
        return len(find_missing(schedule, here)) if schedule.on_release else 0
    except Exception:
        return 1


def reconcile(here: Services) -> None:
    """Finds the releases without an audit, also those whose audit came to nothing."""
    for schedule in ScheduleStore(here.storage.bucket).walk():
        audit(schedule, lambda one, here: find_failed(one, find_due(one, here), here), here)


def audit(
    schedule: StoredSchedule, find: Callable[[StoredSchedule, Services], Iterable[Release]], here: Services
) -> None:
    """Audits what is found of a schedule that waits for releases. What goes wrong with it is in no other's way."""
    try:
        for release in find(schedule, here) if schedule.on_release else ():
            trigger(schedule, release, here)
    except LATER as problem:
        log.warning("schedule.waits", schedule=schedule.id, error=problem.detail)
    except Exception:
        log.exception("schedule.failed", schedule=schedule.id)


def keep_entries(app: Celery, schedules: list[StoredSchedule]) -> None:
    """Redis has an entry for every line of cron in the store, and for no other."""
    wanted = {PREFIX + one.id: one for one in schedules if one.cron is not None}
    for name in list_entries(app) - wanted.keys():
        Due(name=name, app=app).delete()
    for name in wanted.keys() - list_entries(app):
        make_entry(name, wanted[name], app).save()


def list_entries(app: Celery) -> set[str]:
    """The names of the entries that schedules have in Redis."""
    where = ensure_conf(app)
    start = where.key_prefix
    known = get_redis(app).zrange(where.schedule_key, 0, -1)
    return {one.removeprefix(start) for one in known if one.startswith(start + PREFIX)}


def make_entry(name: str, schedule: StoredSchedule, app: Celery) -> Due:
    late = spread(schedule.id, schedule.jitter_seconds)
    cron = {"line": schedule.cron, "timezone": schedule.timezone, "late": late}
    asked = {"tenant": schedule.tenant, "schedule": schedule.id}
    return Due(name=name, task=FIRE, kwargs=asked, options={"cron": cron}, app=app)


def main() -> None:
    """Until it is told to stop; where Redis is gone for a while, it begins anew."""
    die_with_parent()
    settings = Settings()
    configure_logging(settings)
    here = connect(settings)
    log.info("scheduler.ready")
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, stop)
    run_until_stopped(lambda: begin(settings, here))


def begin(settings: Settings, here: Services) -> Service:
    show_life(settings.life, "scheduler")
    return Service(create_scheduler(settings, here), scheduler_cls=Clock)


def run_until_stopped(begin: Callable[[], Service]) -> None:
    while True:
        try:
            begin().start()
        except (RedisError, LockError, Problem) as error:
            log.warning("scheduler.interrupted", error=str(error)[:200])
            time.sleep(REST_SECONDS)
        else:
            return


def stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


if __name__ == "__main__":
    main()
