"""Runs an attack while the bystander measures, and follows every accepted job to its end."""

import time
import traceback
from collections import Counter

from archetype.client import Client, ServiceError
from archetype.contract.job import Job
from archetype.errors import ArchetypeError
from tests.chaos.ledger import Ledger
from tests.siege.attack import Attack
from tests.siege.bystander import Sample
from tests.siege.findings import Findings
from tests.siege.memory import MemoryWatch, read_limits
from tests.siege.observe import is_ready, judge, observe, wait_for_service
from tests.siege.row import Memory, Row, Times
from tests.siege.stage import Stage, warm_up

RECOVERY_SECONDS = 30.0
SETTLE_SECONDS = 120.0
"""Limit for jobs that are still open after an attack."""


def play(attack: Attack, stage: Stage) -> Row:
    """Runs an attack, and returns its row. Afterwards, the service is ready for the next."""
    try:
        return measure(attack, stage)
    except (ArchetypeError, OSError, ValueError) as error:  # the next attack runs nevertheless
        wait_for_service(stage, Findings())
        return Row(attack.point, attack.name, attack.title, unmet=[f"the attack is measured; instead: {error!r}"])


def measure(attack: Attack, stage: Stage) -> Row:
    """Runs an attack, judges what the bystander has seen, and follows the jobs."""
    findings, began = Findings(), time.monotonic()
    attack.prepare()
    memory = MemoryWatch(stage.processes)
    with memory, observe(stage) as samples:
        run_attack(attack, stage, findings)
    wait_for_service(stage, findings)
    judge(samples, stage, findings, may_refuse=attack.cuts)
    accept(samples, stage, findings)
    peaks = judge_memory(memory, findings, adds=attack.adds)
    ends = follow(stage, findings)
    row = Row(
        point=attack.point,
        name=attack.name,
        title=attack.title,
        seconds=round(time.monotonic() - began, 1),
        times={name: Times.of(one for one in samples if one.name == name) for name in dict.fromkeys(names(samples))},
        memory=peaks,
        accepted=ends["accepted"],
        lost=ends["lost"],
        doubled=ends["doubled"],
        unmet=findings.unmet,
        notes=findings.notes,
    )
    if not row.good:
        renew(stage, "api", "webhook-sender", *(["worker"] if attack.adds is not None else []))
    return row


def renew(stage: Stage, *names: str) -> None:
    """Starts parts again, so that what an attack has left in them does not count in the next row."""
    for name in names:
        stage.processes.kill(name)
        stage.processes.start(name)
    is_ready(stage, 60)
    warm_up(stage)


def names(samples: list[Sample]) -> list[str]:
    """Returns the names of the calls of samples."""
    return [sample.name for sample in samples]


def run_attack(attack: Attack, stage: Stage, findings: Findings) -> None:
    """Runs an attack. An error of the attack becomes an expectation that does not hold, and the next attack runs."""
    try:
        attack.act(stage, findings)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        findings.expect(False, f"the attack runs to its end; instead: {error!r} ({place.name}:{place.lineno})")


def accept(samples: list[Sample], stage: Stage, findings: Findings) -> None:
    """Adds the jobs of the bystander to the accepted ones."""
    for sample in samples:
        if sample.job is not None:
            findings.accept(stage.bystander, sample.job, stage.bystander_request)


def judge_memory(memory: MemoryWatch, findings: Findings, *, adds: int | None) -> dict[str, Memory]:
    """Checks the peak of each part against the limit of its container in the deployment, and what was added."""
    limits = read_limits()
    peaks: dict[str, Memory] = {}
    for name, part in memory.parts.items():
        limit = limits.get(name.rstrip("-0123456789"))
        peaks[name] = Memory(part.peak, limit)
        if limit is not None and part.peak > limit:
            sentence = f"{name} stays below its limit of {limit >> 20} MiB; its peak was {part.peak >> 20} MiB"
            findings.expect(False, sentence)
        if adds is not None and part.growth > adds:
            sentence = f"the attack adds at most {adds >> 20} MiB to {name}; it added {part.growth >> 20} MiB"
            findings.expect(False, sentence)
    return peaks


def read_job(client: Client, job_id: str) -> Job:
    """Returns a job; repeats the call while the service recovers from an attack."""
    end = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            return client.job(job_id)
        except ServiceError:
            if time.monotonic() > end:
                raise
        time.sleep(0.3)


def follow(stage: Stage, findings: Findings) -> Counter[str]:
    """Waits until every accepted job has ended, checks its results, and counts accepted, lost and doubled jobs."""
    counts: Counter[str] = Counter()
    for key, requests in findings.accepted.items():
        with Ledger(stage.stack.url, key=key) as ledger:
            for job_id, request in requests.items():
                ledger.follow(read_job(ledger.client, job_id), request)
            ledger.settle(seconds=SETTLE_SECONDS * stage.patience)
            row = ledger.audit(0, "", seconds=0)
        counts.update(accepted=row.accepted, lost=row.lost, doubled=row.doubled)
        findings.notes += row.notes
    return counts
