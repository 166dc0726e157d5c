"""Scenario 11: workers, the scheduler and Redis die while a release is audited, and the audit finds the same."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from shared.audits import AuditView, NewAudit
from shared.client import ServiceError
from shared.jobs import State
from shared.parameters.audit import Plan, Probe
from tests.chaos.ledger import Ledger
from tests.chaos.requests import paint
from tests.chaos.stage import WORKERS, Stage

AUDIT_SECONDS = 300.0
SAME = ("verdict", "subject", "baselines", "plan", "findings", "comparisons", "errors", "figures")
"""What of a report must not depend on what happened meanwhile."""


def run(stage: Stage, ledger: Ledger) -> None:
    """The same audit twice, once in peace."""
    plan = make_plan(stage, ledger)
    calm = audit(ledger, plan)
    disturbed = audit(ledger, plan, list_faults(stage))
    ours, theirs = read_report(ledger, disturbed), read_report(ledger, calm)
    for name in SAME:
        apart = ", ".join(list(list_differences(ours[name], theirs[name], name))[:5])
        ledger.expect(not apart, f"the disturbed audit's {name} are those of the one in peace: {apart}")
    ledger.expect(calm.id != disturbed.id, "it was made again")
    ledger.notes.append(f"verdict {disturbed.verdict}, {len(disturbed.members)} jobs, {len(SAME)} parts of two reports")


def make_plan(stage: Stage, ledger: Ledger) -> Plan:
    """Two classes and four pictures; their jobs last long enough to be struck."""
    probes = [
        Probe(id=ledger.client.upload(paint(stage.random)).id, target=number % 2)
        for number in range(4 if stage.short else 12)
    ]
    drawn = {"steps": 60 if stage.short else 300, "extras": False}
    return Plan.model_validate(
        {
            "name": "disturbed", "classes": [0, 1], "baselines": ["shapes@1"], "seeds": [1, 2],
            "noise_seeds": [3, 4], "subject_seeds": [5, 6], "class_models": drawn, "probes": probes,
        }
    )  # fmt: skip


def list_faults(stage: Stage) -> list[Callable[[], None]]:
    """One after each job that has ended."""

    def kill_workers() -> None:
        stage.kill(*WORKERS)
        stage.start(*WORKERS)

    def kill_scheduler() -> None:
        stage.kill("scheduler")
        stage.start("scheduler")

    faults = [kill_workers, stage.restart_redis, stage.wipe_redis, kill_scheduler]
    return faults if stage.short else [*faults, lambda: stage.kill_child(WORKERS[0]), lambda: stage.cut_redis(2000)]


def audit(ledger: Ledger, plan: Plan, faults: Sequence[Callable[[], None]] = ()) -> AuditView:
    """Audits `shapes`, made anew; whenever one more of its jobs has ended, the next thing goes wrong."""
    found = ledger.client.audit(NewAudit(model="shapes", plan=plan, again=True))
    left, seen = list(faults), -1

    def is_over() -> bool:
        nonlocal seen, found
        with suppress(ServiceError):  # what answers may just have been struck
            found = ledger.client.get_audit(found.id)
        if left and found.progress.done > seen:
            seen = found.progress.done
            left.pop(0)()
        return found.state.terminal

    ledger.wait_until(is_over, seconds=AUDIT_SECONDS)
    ledger.expect(found.state is State.SUCCEEDED, f"the audit comes to a verdict; it {found.state}")
    ledger.expect(not left, f"everything goes wrong that was to; {len(left)} things did not")
    return found


def read_report(ledger: Ledger, ended: AuditView) -> dict[str, Any]:
    artifact = next(one for one in ended.artifacts if one.name == "report.json")
    return dict(json.loads(ledger.client.fetch(artifact)))


def list_differences(ours: object, theirs: object, place: str) -> Iterator[str]:
    """Where two documents are not the same, and what is there in each."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        for key in ours:
            yield from list_differences(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from list_differences(one, other, f"{place}.{number}")
    elif ours != theirs:
        yield f"{place} {ours!r} and not {theirs!r}"
