"""Runs the bystander during a block, and judges what it has seen."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from shared.process.parent import die_with_parent
from tests.siege.bystander import LIMIT_SECONDS, Sample, measure
from tests.siege.findings import Findings
from tests.siege.stage import Stage
from tests.siege.traffic import call
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

LIMITS = {"healthz": 1.0, "read": 1.0, "list": 1.0, "submit": 5.0, "upload": 5.0}
"""The longest time that each call of the bystander may take, in seconds."""

START_SECONDS = 60


@contextmanager
def observe(stage: Stage) -> Iterator[list[Sample]]:
    """Measures the calls of the bystander during the block; the list is filled at the end of the block."""
    samples: list[Sample] = []
    path = stage.folder / "bystander.jsonl"
    with path.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.siege.bystander"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            preexec_fn=die_with_parent,
        )
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps([asdict(call) for call in stage.list_calls()]).encode() + b"\n")
        child.stdin.flush()
        wait_until(lambda: path.read_bytes().startswith(b"ready\n"), START_SECONDS)
        yield samples
    finally:
        if child.stdin is not None:
            child.stdin.close()
        try:
            child.wait(2 * LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        samples += read_samples(path)


def read_samples(path: Path) -> list[Sample]:
    """Returns the samples of complete lines."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
    return [Sample(**json.loads(line)) for line in lines]


def judge(samples: list[Sample], stage: Stage, findings: Findings, *, may_refuse: bool) -> None:
    """Checks the calls of the bystander against `LIMITS`.

    Args:
        samples: The measured calls.
        stage: The stage.
        findings: Gets what does not hold.
        may_refuse: Whether reads may be refused with 503 and a reason, because a server that they need is down. Submits
            and uploads always may.
    """
    for name, limit in LIMITS.items():
        own = [sample for sample in samples if sample.name == name]
        longest = max((sample.seconds for sample in own), default=0.0)
        allowed = limit * stage.patience
        findings.expect(own, f"{name} is measured")
        findings.expect(longest <= allowed, f"{name} answers within {allowed:g} s; the longest took {longest:.1f} s")
        refusable = may_refuse if name in ("read", "list") else name != "healthz"
        wrong = [sample for sample in own if not is_answered(sample, refusable=refusable)]
        if wrong:
            found = f"{wrong[0].status or 'no answer'} {wrong[0].reason[:120]}"
            findings.expect(False, f"{name} is answered; {len(wrong)} of {len(own)} were not: {found}")


def is_answered(sample: Sample, *, refusable: bool) -> bool:
    """Whether a call succeeded, or was refused with 503 and a reason if it may be."""
    if sample.status is None:
        return False
    return sample.status < 400 or (refusable and sample.status == 503 and bool(sample.reason))


def wait_for_service(stage: Stage, findings: Findings, *, seconds: float = 30) -> None:
    """Waits until the service is ready again after an attack; starts parts that have ended or do not answer."""
    ended = [name for name, child in stage.processes.children.items() if child.poll() is not None]
    for name in ended:
        tail = stage.processes.log(name).read_text(errors="replace").splitlines()[-1:]
        findings.expect(False, f"{name} keeps running; it ended: {tail}")
        stage.processes.start(name)
    began = time.monotonic()
    if not is_ready(stage, seconds):
        findings.expect(False, f"the service is ready {seconds:g} s after the attack")
        stage.processes.kill("api")
        stage.processes.start("api")
        is_ready(stage, 60)
    elif time.monotonic() - began > 5:
        findings.note(f"the service was ready {time.monotonic() - began:.0f} s after the attack")


def is_ready(stage: Stage, seconds: float) -> bool:
    """Waits until `/readyz` and the calls of the bystander except submits succeed; returns whether they did in time."""
    calls = [one for one in stage.list_calls() if one.name != "submit"]

    def answers() -> bool:
        is_up = call(stage.address, "GET", "/readyz", seconds=5)[0] == 200
        return is_up and all((measure(one).status or 500) < 300 for one in calls)

    try:
        wait_until(answers, seconds)
    except TimeoutError:
        return False
    return True
