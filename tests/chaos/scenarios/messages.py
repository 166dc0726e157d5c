"""Scenario 6: messages that come twice, in another order, for nobody, or from the future."""

import time
from typing import Any

from celery import Celery

from shared.broker import QUEUES, RUN, count_messages, create_broker, send_job
from shared.jobs import new_job_id
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import WORKERS, Stage

ASKED_SECONDS = 1.5
"""Redis gives the next message to whoever asked, asleep or not, for the second that a worker asks for at a time."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Whatever lies in the queue, jobs end once, and the queue is empty afterwards."""
    broker = create_broker(stage.settings)
    send_twice(stage, ledger, broker)
    send_reordered(stage, ledger)
    send_nonsense(stage, ledger, broker)
    replace_message(stage, ledger, broker)
    ledger.settle(seconds=60)
    empty = ledger.wait_until(lambda: count_messages(broker) == 0, seconds=20)
    ledger.expect(empty, f"no message is left in the queue; {count_messages(broker)} are")


def send_twice(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """Every message several times, before, while and after the job runs."""
    job, quick = ledger.submit(long(stage.random)), ledger.submit(small(stage.random))
    for queue in QUEUES * 2:
        send_job(broker, job.id, queue)
        send_job(broker, quick.id, queue)
    ledger.wait_for_step(job.id)
    send_job(broker, job.id, QUEUES[0])
    ledger.wait(quick.id)
    send_job(broker, quick.id, QUEUES[0])


def send_reordered(stage: Stage, ledger: Ledger) -> None:
    """The queue turned round, and shuffled."""
    pause_receivers(stage)
    try:
        for _ in range(5):
            ledger.submit(small(stage.random))
        for queue in QUEUES:
            messages = stage.redis.lrange(queue, 0, -1)
            stage.random.shuffle(messages)
            if messages:
                stage.redis.ltrim(queue, len(messages), -1)
                stage.redis.rpush(queue, *messages)
    finally:
        stage.resume(*WORKERS)


def pause_receivers(stage: Stage) -> None:
    """Workers that take no message, also none that Redis has promised to whoever asked last."""
    stage.pause(*WORKERS)
    time.sleep(ASKED_SECONDS)


def send_nonsense(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """For jobs that never were, of a format that nobody knows, for tasks that are not there."""
    known = next(iter(ledger.entries))
    arguments: list[list[Any]] = [
        [new_job_id()], [{"format": 2, "job": known}], [], [known, "and more"], ["no id at all"], [None],
    ]  # fmt: skip
    for given in arguments:
        broker.send_task(RUN, args=given, queue=QUEUES[0])
    broker.send_task(RUN, args=[known], kwargs={"format": 3}, queue=QUEUES[1])
    broker.send_task("archetype.not_yet_invented", args=[known], queue=QUEUES[0])
    after = ledger.submit(small(stage.random))
    ledger.expect(ledger.wait(after.id), "a job behind messages that nobody understands ends")


def replace_message(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """A job whose only message is of a later format ends all the same."""
    pause_receivers(stage)
    try:
        job = ledger.submit(small(stage.random, "replaced"))
        for queue in stage.redis.scan_iter(_type="list"):
            for message in map(str, stage.redis.lrange(queue, 0, -1)):
                if job.id in message:
                    stage.redis.lrem(queue, 1, message)
        broker.send_task(RUN, args=[{"format": 2, "job": job.id}], queue=QUEUES[0])
    finally:
        stage.resume(*WORKERS)
    ledger.expect(ledger.wait(job.id), "a job whose message was lost to a later format ends")
