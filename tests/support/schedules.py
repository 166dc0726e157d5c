"""Schedules in tests: made and deleted again, and waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from archetype.client import Client
from archetype.contract.schedule import NewSchedule, Schedule

NEVER_SOON = "0 0 29 2 *"


@contextmanager
def scheduled(client: Client, plan: dict[str, Any], **fields: Any) -> Iterator[Schedule]:
    schedule = client.schedule(NewSchedule.model_validate({"model": "shapes", "plan": plan} | fields))
    try:
        yield schedule
    finally:
        client.delete_schedule(schedule.id)
