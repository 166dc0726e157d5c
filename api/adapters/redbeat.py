"""RedBeat, which keeps the times of schedules in Redis, and whose lock lets one scheduler work at a time."""

from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery
from redbeat.schedulers import RedBeatScheduler, RedBeatSchedulerEntry, ensure_conf, get_redis
from redis.exceptions import LockError

from shared.errors import Problem
from shared.process.liveness import touch_liveness_file
from shared.queue.cron import Cron, spread
from shared.storage.schedules import StoredSchedule

log = structlog.get_logger()

RUN_SCHEDULE = "archetype.fire"
"""Name of the task of a schedule's entry. Entries in Redis contain it, so it cannot change."""

NAME_PREFIX = "schedule:"
"""Prefix of the names of schedules' entries. Other entries belong to periodic work of the scheduler itself."""


class ScheduleEntry(RedBeatSchedulerEntry):  # type: ignore[misc]
    """An entry of RedBeat. RedBeat stores cron expressions without time zone; this entry keeps it in its options."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        if fields.get("task") == RUN_SCHEDULE:
            cron = fields["options"]["cron"]
            fields["schedule"] = Cron(cron["line"], cron["timezone"], cron["late"])
        super().__init__(*args, **fields)


class InProcessScheduler(RedBeatScheduler):  # type: ignore[misc]
    """Runs due tasks in its own process, instead of sending them to workers."""

    Entry = ScheduleEntry

    def tick(self, *args: Any, **options: Any) -> float:
        """Runs what is due, and returns the seconds until the next call. Raises `LockError` without the lock."""
        touch_liveness_file(self.app.conf.archetype_liveness_dir, "scheduler")
        if self.lock is None:  # Celery logs and ignores the error of acquiring it
            raise LockError("Redis did not grant the lock of the scheduler")
        return float(super().tick(*args, **options))

    def apply_async(self, entry: ScheduleEntry, advance: bool = True, **_: object) -> None:
        """Runs the task of an entry, and then marks it as done. A task that fails runs again at the next tick."""
        try:
            self.app.tasks[entry.task](**entry.kwargs)
        except Problem as problem:
            log.warning("scheduler.task_postponed", task=entry.name, error=problem.detail)
            return
        except Exception:
            log.exception("scheduler.task_failed", task=entry.name)
            return
        if advance:
            self.reserve(entry)


def sync_entries(app: Celery, schedules: Sequence[StoredSchedule]) -> None:
    """Creates the missing entries of schedules with a cron expression, and deletes the entries of deleted ones.

    A schedule whose expression cannot be read is logged and skipped, so that it does not stop the other schedules.
    """
    by_name = {NAME_PREFIX + schedule.id: schedule for schedule in schedules if schedule.cron is not None}
    existing = list_entries(app)
    for name in existing - by_name.keys():
        ScheduleEntry(name=name, app=app).delete()
    for name in by_name.keys() - existing:
        try:
            make_entry(name, by_name[name], app).save()
        except ValueError as error:
            log.warning("schedule.unreadable", schedule=by_name[name].id, error=str(error)[:300])


def list_entries(app: Celery) -> set[str]:
    """Returns the names of the entries of schedules in Redis."""
    conf = ensure_conf(app)
    keys = get_redis(app).zrange(conf.schedule_key, 0, -1)
    prefix = conf.key_prefix
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix + NAME_PREFIX)}


def make_entry(name: str, schedule: StoredSchedule, app: Celery) -> ScheduleEntry:
    """Returns the entry of a schedule."""
    jitter = spread(schedule.id, schedule.jitter_seconds)
    cron = {"line": schedule.cron, "timezone": schedule.timezone, "late": jitter}
    arguments = {"tenant": schedule.tenant, "schedule": schedule.id}
    return ScheduleEntry(name=name, task=RUN_SCHEDULE, kwargs=arguments, options={"cron": cron}, app=app)
