"""Scenario 10: the receiver of webhooks is down; meanwhile the webhook sender is killed and Redis is wiped."""

import json
import time
from collections import Counter

from standardwebhooks import Webhook, WebhookVerificationError

from archetype.contract.job import State
from deploy.local import free_port
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import Stage
from tests.support.receiver import Receiver

SETTLE_SECONDS = 150.0
"""Longer than the pause after repeated failures of a host."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Runs jobs while their receiver is down, then starts it; it must receive a message for each job."""
    seconds, count = (8.0, 8) if stage.short else (600.0, 60)
    receiver = Receiver(free_port())
    end = time.monotonic() + seconds
    faults = [
        lambda: _kill_webhook_sender(stage),
        stage.wipe_redis,
        lambda: stage.kill_child("worker"),
        stage.restart_redis,
    ]
    for number in range(count):
        make = long if number % 10 == 9 else small
        request = make(stage.random).model_copy(update={"webhook": receiver.url})
        job = ledger.insist(request, key=f"webhook-{stage.seed}-{number}-{receiver.port}")
        if number % 10 == 9:
            ledger.client.cancel(job.id)
        if number % (count // len(faults)) == 1:
            faults[number * len(faults) // count]()
            ledger.begin_recovery()
        time.sleep(max(0.0, (end - time.monotonic()) / (count - number)))
    ledger.settle(seconds=60)
    receiver.start()
    try:
        ledger.wait_until(lambda: set(receiver.ids()) >= set(ledger.entries), seconds=SETTLE_SECONDS)
        check_messages(receiver, ledger)
    finally:
        receiver.stop()


def check_messages(receiver: Receiver, ledger: Ledger) -> None:
    """Expects a signed message with the right state for each job."""
    received = Counter(receiver.ids())
    missing = set(ledger.entries) - set(received)
    ledger.expect(not missing, f"all messages arrive within {SETTLE_SECONDS:.0f} s; {len(missing)} did not")
    ledger.expect(set(received) <= set(ledger.entries), "only requested messages arrive")
    secret = Webhook(ledger.client.webhook_secret())
    for headers, body in receiver.taken:
        entry = ledger.entries[headers["webhook-id"]]
        try:
            secret.verify(body, headers)
        except WebhookVerificationError as error:
            ledger.expect(False, f"messages are signed: {error}")
        state = entry.last.state if entry.first_end is None else entry.first_end.state
        ledger.expect(json.loads(body)["type"] == f"job.{state}", f"the message says that {entry.id} {state}")
    ends = Counter(State(json.loads(body)["data"]["state"]).value for _, body in receiver.taken)
    repeated = sum(count > 1 for count in received.values())
    ledger.notes.append(f"messages of {len(received)} jobs ({dict(ends)}), {repeated} of them more than once")


def _kill_webhook_sender(stage: Stage) -> None:
    stage.kill("webhook-sender")
    stage.start("webhook-sender")
