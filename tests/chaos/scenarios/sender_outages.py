"""Scenario 14: Redis and the store are away while webhooks wait; afterwards, all are delivered."""

import time

from deploy.local import free_port
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import Fault
from tests.chaos.requests import small
from tests.chaos.scenarios.receiver_down import SETTLE_SECONDS, check_messages
from tests.chaos.stage import Stage
from tests.support.receiver import Receiver


def run(stage: Stage, ledger: Ledger) -> None:
    """Lets the receiver fail first, so that messages of all jobs wait during each outage."""
    receiver = Receiver(free_port(), answer=503)
    receiver.start()
    try:
        for name, outage in (("redis", lose_redis), ("store", lose_store)):
            submit(stage, ledger, receiver, name)
            outage(stage)
            ledger.begin_recovery()
            submit(stage, ledger, receiver, f"after-{name}")
        receiver.answer = 200
        submit(stage, ledger, receiver, "end")
        ledger.settle(seconds=60)
        ledger.wait_until(lambda: set(receiver.ids()) >= set(ledger.entries), seconds=SETTLE_SECONDS)
        check_messages(receiver, ledger)
    finally:
        receiver.stop()


def submit(stage: Stage, ledger: Ledger, receiver: Receiver, name: str) -> None:
    """Submits jobs, and waits until the sender has tried to send the message of one of them."""
    tried = len(receiver.paths)
    for number in range(2 if stage.short else 10):
        request = small(stage.random).model_copy(update={"webhook": receiver.url})
        ledger.insist(request, key=f"outage-{stage.seed}-{receiver.port}-{name}-{number}")
    ledger.wait_until(lambda: len(receiver.paths) > tried, seconds=60)


def lose_redis(stage: Stage) -> None:
    """Stops Redis for a while, and starts it with its data."""
    stage.down.add("redis")
    stage.processes.stop("redis")
    time.sleep(4 if stage.short else 40)
    stage.start("redis")


def lose_store(stage: Stage) -> None:
    with stage.proxy.fault(Fault(status=503)):
        time.sleep(4 if stage.short else 40)
