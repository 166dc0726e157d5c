"""Scenario 10: who is to be told is away, and meanwhile what tells them dies, and what remembers it forgets."""

import json
import time
from collections import Counter

from standardwebhooks import Webhook, WebhookVerificationError

from deploy.local import free_port
from shared.jobs import State
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import Stage
from tests.receiver import Receiver

SETTLE_SECONDS = 150.0
"""Longer than a host rests that has failed all the time."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Jobs end all the time that their receiver is down; once it is back, it hears of each."""
    seconds, count = (8.0, 8) if stage.short else (600.0, 60)
    receiver = Receiver(free_port())
    end = time.monotonic() + seconds
    faults = [lambda: _kill_courier(stage), stage.wipe_redis, lambda: stage.kill_child("worker"), stage.restart_redis]
    for number in range(count):
        make = long if number % 10 == 9 else small
        request = make(stage.random).model_copy(update={"webhook": receiver.url})
        job = ledger.insist(request, key=f"told-{stage.seed}-{number}-{receiver.port}")
        if number % 10 == 9:
            ledger.client.cancel(job.id)
        if number % (count // len(faults)) == 1:
            faults[number * len(faults) // count]()
            ledger.struck()
        time.sleep(max(0.0, (end - time.monotonic()) / (count - number)))
    ledger.settle(seconds=60)
    receiver.start()
    try:
        ledger.wait_until(lambda: set(receiver.ids()) >= set(ledger.entries), seconds=SETTLE_SECONDS)
        judge(receiver, ledger)
    finally:
        receiver.stop()


def judge(receiver: Receiver, ledger: Ledger) -> None:
    """Every end was told, signed, and as it was."""
    told = Counter(receiver.ids())
    missing = set(ledger.entries) - set(told)
    ledger.expect(not missing, f"every end is told within {SETTLE_SECONDS:.0f} s; {len(missing)} of them were not")
    ledger.expect(set(told) <= set(ledger.entries), "nothing is told that nobody asked for")
    secret = Webhook(ledger.client.webhook_secret())
    for headers, body in receiver.taken:
        entry = ledger.entries[headers["webhook-id"]]
        try:
            secret.verify(body, headers)
        except WebhookVerificationError as error:
            ledger.expect(False, f"what is told is signed: {error}")
        state = entry.last.state if entry.first_end is None else entry.first_end.state
        ledger.expect(json.loads(body)["type"] == f"job.{state}", f"it is told that {entry.id} {state}")
    ends = Counter(State(json.loads(body)["data"]["state"]).value for _, body in receiver.taken)
    twice = sum(count > 1 for count in told.values())
    ledger.notes.append(f"{len(told)} ends told ({dict(ends)}), {twice} of them more than once")


def _kill_courier(stage: Stage) -> None:
    stage.kill("courier")
    stage.start("courier")
