"""Two processes of the scheduler."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redbeat.schedulers import ensure_conf

from api.adapters.redbeat import ScheduleEntry, list_entries, sync_entries
from api.dependencies import connect
from api.scheduler import create_scheduler
from archetype.client import Client
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import now
from archetype.contract.schedule import NewSchedule
from deploy.local import Stack
from shared.queue.cron import Cron
from shared.storage.schedules import StoredSchedule
from tests.support.schedules import NEVER_SOON, scheduled
from tests.support.waiting import wait_until


def test_of_two_schedulers_one_runs_a_due_schedule_once(
    client: Client, stack: Stack, plan: dict[str, Any], tmp_path: Path
) -> None:
    services = connect(stack.settings)
    scheduler = create_scheduler(stack.settings, services)
    prefix = ensure_conf(scheduler).key_prefix
    environment = {**os.environ, **stack.settings.environment()}
    log = tmp_path / "log"
    with log.open("w") as file:
        other = subprocess.Popen([sys.executable, "-m", "api.scheduler"], env=environment, stderr=file)
    try:
        wait_until(lambda: "scheduler.ready" in log.read_text(), 120)
        with scheduled(client, plan, on_release=False, cron=NEVER_SOON, timezone="Asia/Kolkata") as schedule:
            name = f"{prefix}schedule:{schedule.id}"
            entry = wait_until(lambda: find_entry(name, scheduler))
            assert str(entry.schedule.tz) == "Asia/Kolkata"
            assert client.get_schedule(schedule.id).outcomes == []
            before = count_fired(client)
            entry.reschedule(datetime(2020, 1, 1, tzinfo=UTC))
            outcome = wait_until(lambda: client.get_schedule(schedule.id).outcomes)[0]
            assert outcome.release == "1"
            time.sleep(5)  # two ticks and more of each
            assert count_fired(client) - before == 1
            assert other.poll() is None
        wait_until(lambda: find_entry(name, scheduler) is None)
    finally:
        other.terminate()
        assert other.wait(30) == 0


def find_entry(name: str, scheduler: Any) -> ScheduleEntry | None:
    try:
        return ScheduleEntry.from_key(name, app=scheduler)
    except KeyError:
        return None


def count_fired(client: Client) -> float:
    lines = [line for line in client.metrics().splitlines() if line.startswith("archetype_schedules_fired_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_cron_expression_that_cannot_be_read_does_not_stop_other_schedules(stack: Stack) -> None:
    """An earlier version accepted expressions that never match."""
    own = stack.settings.model_copy(update={"redis_url": stack.settings.redis_url.removesuffix("/0") + "/9"})
    scheduler = create_scheduler(own, connect(own))
    new = NewSchedule(model="shapes", plan=AuditPlan(name="nightly"), cron="0 3 * * 7")
    readable = StoredSchedule(**dict(new), id="1readable", tenant="default", since="1", created_at=now())
    broken = readable.model_copy(update={"id": "0broken", "cron": "0 0 30 2 *"})
    sync_entries(scheduler, [broken, readable])
    assert list_entries(scheduler) == {"schedule:1readable"}
    entry = find_entry(f"{ensure_conf(scheduler).key_prefix}schedule:1readable", scheduler)
    assert entry is not None
    assert entry.schedule == Cron("0 3 * * 7")
    sync_entries(scheduler, [])
    assert list_entries(scheduler) == set()
