"""Scenario 9: many clients submit small jobs while random faults occur."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from archetype.client import ServiceError
from archetype.contract.job import State
from shared.queue.celery_app import QUEUES, create_broker, send_job
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import READS, WRITES, Fault
from tests.chaos.requests import explain, explain_many, long, paint, small
from tests.chaos.stage import LEASE_SECONDS, WORKERS, Stage

FaultFunction = Callable[[Stage, Ledger], None]


def run(stage: Stage, ledger: Ledger, *, seconds: float) -> None:
    """Submits jobs at an even rate from many threads, while this thread injects faults."""
    count, clients = (40, 8) if stage.short else (1000, 20)
    end = time.monotonic() + seconds
    images = [ledger.client.upload(paint(stage.random)).id for _ in range(9)]
    queue = _schedule(count, time.monotonic(), seconds * 0.9)
    lock = threading.Lock()
    seeds = [stage.random.getrandbits(32) for _ in range(clients)]
    threads = [threading.Thread(target=_run_client, args=(ledger, Random(seed), images, queue, lock)) for seed in seeds]
    for thread in threads:
        thread.daemon = True
        thread.start()
    counts: Counter[str] = Counter()
    while time.monotonic() < end:
        time.sleep(stage.random.uniform(0.5, 3))
        fault = stage.random.choice(FAULTS)
        fault(stage, ledger)
        ledger.begin_recovery()
        counts[fault.__name__] += 1
    stage.heal(ledger)
    for thread in threads:
        thread.join(timeout=120)
    ledger.expect(not any(thread.is_alive() for thread in threads), "all jobs of every client are accepted")
    ledger.notes.append(", ".join(f"{name} ×{times}" for name, times in sorted(counts.items())))
    stage.recover(ledger, seconds=120)
    check_jobs(ledger, count)


def check_jobs(ledger: Ledger, count: int) -> None:
    """Expects one job per key, and failures only of jobs whose worker was lost three times."""
    ledger.expect(len(ledger.entries) == count, f"{count} keys give {count} jobs, not {len(ledger.entries)}")
    tags = Counter(tag for entry in ledger.entries.values() for tag in entry.request.tags)
    ledger.expect(set(tags.values()) <= {1}, "no key gives two jobs")
    for entry in ledger.entries.values():
        if entry.first_end is not None and entry.first_end.state is State.FAILED:
            error = entry.first_end.error
            ledger.notes.append(f"failed after {entry.first_end.attempt} attempts: {error.detail if error else error}")
            lost = error is not None and error.type.endswith("attempts-exhausted")
            ledger.expect(lost, f"only jobs whose worker was lost three times fail; {entry.id} failed")


def _schedule(count: int, begin: float, seconds: float) -> Iterator[tuple[int, float]]:
    """Yields the numbers of the jobs and the times of their submission."""
    yield from ((number, begin + seconds * number / count) for number in range(count))


def _run_client(
    ledger: Ledger, random: Random, images: list[str], queue: Iterator[tuple[int, float]], lock: threading.Lock
) -> None:
    """Submits the next jobs with retries; cancels some of them."""
    while True:
        with lock:
            number, moment = next(queue, (None, 0.0))
        if number is None:
            return
        time.sleep(max(0.0, moment - time.monotonic()))
        tag = f"storm-{number}"
        request = explain(random, images[0], tag) if random.random() < 0.3 else small(random, tag)
        if random.random() < 0.1:
            request = long(random, tag) if random.random() < 0.5 else explain_many(random, images, tag)
        job = ledger.insist(request, key=tag, seconds=180)
        if random.random() < 0.05:
            with suppress(ServiceError):
                ledger.client.cancel(job.id)


def kill_child(stage: Stage, ledger: Ledger) -> None:
    stage.kill_child(stage.random.choice(WORKERS))


def kill_worker(stage: Stage, ledger: Ledger) -> None:
    _kill(stage, stage.random.choice(WORKERS))


def kill_both_workers(stage: Stage, ledger: Ledger) -> None:
    _kill(stage, *WORKERS)


def kill_api(stage: Stage, ledger: Ledger) -> None:
    _kill(stage, "api")


def restart_redis(stage: Stage, ledger: Ledger) -> None:
    stage.restart_redis()


def cut_redis(stage: Stage, ledger: Ledger) -> None:
    stage.cut_redis(stage.random.randint(100, 5000))


def wipe_redis(stage: Stage, ledger: Ledger) -> None:
    stage.wipe_redis()


def lose_store(stage: Stage, ledger: Ledger) -> None:
    _fault(stage, Fault(drop=True))


def refuse_writes(stage: Stage, ledger: Ledger) -> None:
    _fault(stage, Fault(methods=WRITES, status=stage.random.choice((403, 503))))


def fail_requests(stage: Stage, ledger: Ledger) -> None:
    _fault(stage, Fault(status=500))


def slow_store(stage: Stage, ledger: Ledger) -> None:
    _fault(stage, Fault(delay=stage.random.uniform(0.2, 1.5)))


def reset_connections(stage: Stage, ledger: Ledger) -> None:
    _fault(stage, Fault(methods=stage.random.choice((READS, WRITES)), cut=True))


def pause_worker(stage: Stage, ledger: Ledger) -> None:
    name = stage.random.choice(WORKERS)
    stage.pause(name)
    time.sleep(LEASE_SECONDS * 1.5)
    stage.resume(name)


def repeat_messages(stage: Stage, ledger: Ledger) -> None:
    broker = create_broker(stage.settings)
    entries = list(ledger.entries)
    for job_id in stage.random.sample(entries, min(5, len(entries))):
        send_job(broker, job_id, stage.random.choice(QUEUES))


FAULTS: list[FaultFunction] = [
    kill_child,
    kill_worker,
    kill_both_workers,
    kill_api,
    restart_redis,
    cut_redis,
    wipe_redis,
]
FAULTS += [lose_store, refuse_writes, fail_requests, slow_store, reset_connections, pause_worker, repeat_messages]


def _kill(stage: Stage, *names: str) -> None:
    stage.kill(*names)
    time.sleep(stage.random.uniform(0, 1.5))
    stage.start(*names)


def _fault(stage: Stage, fault: Fault) -> None:
    with stage.proxy.fault(fault):
        time.sleep(stage.random.uniform(0.5, 3))
