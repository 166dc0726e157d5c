"""The order in which schedules of several tenants are served."""

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import now
from shared.storage.schedules import StoredSchedule, interleave


def make_schedule(tenant: str, number: int) -> StoredSchedule:
    fields = {"model": "shapes", "plan": AuditPlan(name="nightly"), "since": "1", "created_at": now()}
    return StoredSchedule.model_validate(fields | {"id": f"{tenant}{number}", "tenant": tenant})


def test_tenants_take_turns_however_many_schedules_one_has() -> None:
    schedules = [make_schedule("alice", number) for number in range(100)] + [make_schedule("bob", 0)]
    assert [schedule.id for schedule in interleave(schedules)][:4] == ["alice0", "bob0", "alice1", "alice2"]
    assert len(interleave(schedules)) == 101
