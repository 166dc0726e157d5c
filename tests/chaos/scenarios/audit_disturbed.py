"""Scenario 11: workers, scheduler and Redis are killed during an audit; the report must not change."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from archetype.client import ServiceError
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.audit_plan import AuditPlan, Probe
from archetype.contract.job import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import paint
from tests.chaos.stage import WORKERS, Stage

FLOAT_ERROR = 1e-6
AUDIT_SECONDS = 300.0
SAME = ("verdict", "subject", "baselines", "plan", "findings", "comparisons", "errors", "figures")
"""Parts of a report that must not depend on faults."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Runs the same audit twice, the first time without faults."""
    plan = make_plan(stage, ledger)
    undisturbed = audit(ledger, plan)
    disturbed = audit(ledger, plan, list_faults(stage))
    report, expected = read_report(ledger, disturbed), read_report(ledger, undisturbed)
    for name in SAME:
        differences = ", ".join(list(list_differences(report[name], expected[name], name))[:5])
        ledger.expect(not differences, f"{name} of the report does not depend on faults: {differences}")
    ledger.expect(undisturbed.id != disturbed.id, "the second audit is a new one")
    ledger.notes.append(f"verdict {disturbed.verdict}, {len(disturbed.members)} jobs, {len(SAME)} parts of two reports")


def make_plan(stage: Stage, ledger: Ledger) -> AuditPlan:
    """Returns a plan with two classes and some images, whose jobs run long enough for faults."""
    probes = [
        Probe(id=ledger.client.upload(paint(stage.random)).id, target=number % 2)
        for number in range(4 if stage.short else 12)
    ]
    fields = {
        "name": "disturbed",
        "classes": [0, 1],
        "baselines": ["shapes@1"],
        "seeds": [1, 2],
        "noise_seeds": [3, 4],
        "subject_seeds": [5, 6],
        "class_models": {"steps": 40 if stage.short else 300, "extras": False},
        "probes": probes,
        "gates": {"trigger": {"tolerance": 1.6, "severity": "off"}} if stage.short else {},
    }
    return AuditPlan.model_validate(fields)


def list_faults(stage: Stage) -> list[Callable[[], None]]:
    """Returns the faults; one is applied after each job that has ended."""

    def kill_workers() -> None:
        stage.kill(*WORKERS)
        stage.start(*WORKERS)

    def kill_scheduler() -> None:
        stage.kill("scheduler")
        stage.start("scheduler")

    faults = [kill_workers, stage.restart_redis, stage.wipe_redis, kill_scheduler]
    return faults if stage.short else [*faults, lambda: stage.kill_child(WORKERS[0]), lambda: stage.cut_redis(2000)]


def audit(ledger: Ledger, plan: AuditPlan, faults: Sequence[Callable[[], None]] = ()) -> AuditView:
    """Audits `shapes` again, and applies the next fault whenever one of the jobs has ended."""
    current = ledger.client.audit(NewAudit(model="shapes", plan=plan, again=True))
    remaining, done = list(faults), -1

    def is_over() -> bool:
        nonlocal done, current
        with suppress(ServiceError):  # the fault may affect the API
            current = ledger.client.get_audit(current.id)
        if remaining and current.progress.done > done:
            done = current.progress.done
            remaining.pop(0)()
        return current.state.terminal

    ledger.wait_until(is_over, seconds=AUDIT_SECONDS)
    ledger.expect(current.state is State.SUCCEEDED, f"the audit has a verdict; its state is {current.state}")
    ledger.expect(not remaining, f"all faults are applied; {len(remaining)} were not")
    return current


def read_report(ledger: Ledger, ended: AuditView) -> dict[str, Any]:
    artifact = next(artifact for artifact in ended.artifacts if artifact.name == "report.json")
    return dict(json.loads(ledger.client.fetch(artifact)))


def list_differences(actual: object, expected: object, path: str) -> Iterator[str]:
    """Yields the paths at which two documents differ, with both values.

    Figures may differ by float error, because a job that is resumed may run in a smaller batch, with other kernels.
    """
    if isinstance(actual, dict) and isinstance(expected, dict) and actual.keys() == expected.keys():
        for key in actual:
            yield from list_differences(actual[key], expected[key], f"{path}.{key}")
    elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        for number, (left, right) in enumerate(zip(actual, expected, strict=True)):
            yield from list_differences(left, right, f"{path}.{number}")
    elif isinstance(actual, float) and isinstance(expected, float | int) and abs(actual - expected) < FLOAT_ERROR:
        return
    elif actual != expected:
        yield f"{path} is {actual!r} instead of {expected!r}"
