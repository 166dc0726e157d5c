"""Repeated and concurrent requests that must have one effect."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from archetype.contract.schedule import NewSchedule
from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import MLFLOW_SECRET, Stage, bearer, issue_key
from tests.siege.traffic import call
from tests.support.audit_plans import write_plan
from tests.support.mlflow import sign, write_event
from tests.support.receiver import Receiver
from tests.support.waiting import wait_until

AUDIT_SECONDS = 120.0
EVENTS = 10


def ask_for_secrets(stage: Stage, findings: Findings) -> None:
    """Asks for the signing secret of a new tenant from several clients at once."""
    different = [ask_at_once(stage, findings, tenant=f"secrets-{number}") for number in range(2 if stage.short else 6)]
    findings.note(f"different secrets of each tenant: {different}")
    findings.expect(set(different) == {1}, f"each tenant has one secret; the tenants have {different}")


def ask_at_once(stage: Stage, findings: Findings, *, tenant: str) -> int:
    """Asks for the secret of a tenant from eight clients; returns how many different ones they got."""
    headers = bearer(issue_key(stage.stack, tenant))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(stage.address, "GET", "/v1/webhooks/secret", headers=headers), range(8)))
    statuses = Counter(status for status, _ in answers)
    findings.expect(set(statuses) <= {200, 503}, f"the secret is returned, or 503; the answers were {dict(statuses)}")
    return len({document["items"][0]["secret"] for status, document in answers if status == 200})


def repeat_events(stage: Stage, findings: Findings) -> None:
    """Sends the event of an alias again and again after its audit has ended; the verdict is written once."""
    registry = Receiver(urlsplit(stage.stack.settings.mlflow_url or "").port or 0)
    registry.start()
    try:
        with stage.connect(stage.bystander) as client:
            plan = write_plan(client, classes=["lemon"])
            schedule = client.schedule(
                NewSchedule.model_validate(
                    {"model": "shapes", "plan": plan, "priority": "interactive", "write_back": {}}
                )
            )
            try:
                wait_until(lambda: registry.paths, AUDIT_SECONDS * stage.patience)
                time.sleep(2)  # the verdict has two tags
                before = len(registry.paths)
                statuses = Counter(send_event(stage, number) for number in range(EVENTS))
                time.sleep(max(4.0, stage.seconds))
                written = len(registry.paths) - before
            finally:
                client.delete_schedule(schedule.id)
    finally:
        registry.stop()
    findings.note(f"{before} calls wrote the verdict; {EVENTS} events ({dict(statuses)}) caused {written} more")
    findings.expect(written == 0, f"a repeated event writes nothing again; {EVENTS} events caused {written} calls")


def send_event(stage: Stage, number: int) -> int | None:
    """Sends the event that a version of the model got an alias, as a new delivery."""
    body = write_event("created", "model_version_alias").replace(b'"Shapes"', b'"shapes"')
    headers = sign(MLFLOW_SECRET, body, delivery_id=f"repeated-{number}")
    return call(stage.address, "POST", "/v1/registry/mlflow", body, headers=headers)[0]


ATTACKS = (
    Attack(12, "events", "ten equal events of a registry after the audit", repeat_events),
    Attack(12, "secrets", "eight concurrent requests for a new signing secret", ask_for_secrets, short=True),
)
