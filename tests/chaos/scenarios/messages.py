"""Scenario 6: messages that are duplicated, reordered, invalid or of a later format."""

import time
from typing import Any

from celery import Celery

from shared.queue.celery_app import QUEUES, RUN, count_messages, create_broker, send_job
from shared.state.job_ids import new_job_id
from tests.chaos.ledger import Ledger
from tests.chaos.requests import long, small
from tests.chaos.stage import WORKERS, Stage

REQUEST_SECONDS = 1.5
"""A worker requests messages for a second at a time; until then, Redis may give a message to a paused worker."""


def run(stage: Stage, ledger: Ledger) -> None:
    """Expects that each job ends once, and that the queue is empty afterwards."""
    broker = create_broker(stage.settings)
    send_twice(stage, ledger, broker)
    send_reordered(stage, ledger)
    send_nonsense(stage, ledger, broker)
    replace_message(stage, ledger, broker)
    ledger.settle(seconds=60)
    empty = ledger.wait_until(lambda: count_messages(broker) == 0, seconds=20)
    ledger.expect(empty, f"no message is left in the queue; {count_messages(broker)} are")


def send_twice(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """Sends every message several times: before, while and after the job runs."""
    job, quick = ledger.submit(long(stage.random)), ledger.submit(small(stage.random))
    for queue in QUEUES * 2:
        send_job(broker, job.id, queue)
        send_job(broker, quick.id, queue)
    ledger.wait_for_step(job.id)
    send_job(broker, job.id, QUEUES[0])
    ledger.wait(quick.id)
    send_job(broker, quick.id, QUEUES[0])


def send_reordered(stage: Stage, ledger: Ledger) -> None:
    """Shuffles the queues."""
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
    """Pauses the workers until their last request for messages has expired."""
    stage.pause(*WORKERS)
    time.sleep(REQUEST_SECONDS)


def send_nonsense(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """Sends messages for unknown jobs, with an unknown format, and for unknown tasks."""
    known = next(iter(ledger.entries))
    invalid: list[list[Any]] = [[new_job_id()], [{"format": 2, "job": known}], [], [known, "extra"], ["no id"], [None]]
    for arguments in invalid:
        broker.send_task(RUN, args=arguments, queue=QUEUES[0])
    broker.send_task(RUN, args=[known], kwargs={"format": 99}, queue=QUEUES[1])
    broker.send_task("archetype.not_yet_invented", args=[known], queue=QUEUES[0])
    after = ledger.submit(small(stage.random))
    ledger.expect(ledger.wait(after.id), "a job behind invalid messages ends")


def replace_message(stage: Stage, ledger: Ledger, broker: Celery) -> None:
    """Replaces the message of a job by one of a later format; the job ends nevertheless."""
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
    ledger.expect(ledger.wait(job.id), "a job whose message was replaced by one of a later format ends")
