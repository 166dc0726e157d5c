"""One attempt at a share of a job: what it takes to begin, what it is to itself while it runs, and how it ends."""

import importlib
import platform
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
import structlog
import torch
from opentelemetry.trace import Span

from shared.catalogue import Catalogue
from shared.checks import Checked, check_request, parse_stored
from shared.claims import Claim, ClaimLost, Claims
from shared.ending import cancelled, end_job, ended
from shared.errors import (
    Internal,
    InvalidRequest,
    NotFound,
    OutOfMemory,
    Problem,
    Retold,
    Unavailable,
)
from shared.events import Events
from shared.jobs import Job, Order, Part, State, now
from shared.rebuilding import load_order
from shared.records import Records
from shared.settings import Settings
from shared.storage import Storage
from shared.tracing import go_on
from shared.version import VERSION
from worker.audit.evidence import Evidence
from worker.heartbeat import Heartbeat
from worker.lane import Lane
from worker.networks import Networks
from worker.opener import Opener
from worker.outcome import Outcome, Saver
from worker.plans import Plans
from worker.pool import Run, Want
from worker.sources import open_source
from worker.task import Judge, Task
from worker.thumbnail import Thumbnail

log = structlog.get_logger()


@dataclass(frozen=True)
class Bench:
    """What a worker process works with, set up once.

    Attributes:
        owner: What the worker is called in the records.
        stopping: Set when it is to give back what it has, and stop.
    """

    settings: Settings
    records: Records
    claims: Claims
    storage: Storage
    catalogue: Catalogue
    networks: Networks
    plans: Plans
    device: torch.device
    owner: str = "worker"
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass
class Attempt:
    """One attempt at a share.

    Attributes:
        outcome: What it has to show so far.
        held: What is given back when it ends.
        run: The method at work.
        want: What it waits for.
        put_away: When it was last put away, in seconds of a clock that nobody sets.
        claimed: When it was claimed.
        stepped: When its first step was over.
        kept: Whether there is a checkpoint of it.
        span: Its part of the job's trace.
    """

    claim: Claim
    heartbeat: Heartbeat
    outcome: Outcome = field(default_factory=Outcome)
    held: ExitStack = field(default_factory=ExitStack)
    run: Run | None = None
    want: Want | None = None
    put_away: float = field(default_factory=time.monotonic)
    claimed: datetime = field(default_factory=now)
    stepped: datetime | None = None
    kept: bool = False
    span: Span | None = None

    @property
    def size(self) -> int:
        """Places that it takes in the batch."""
        return self.claim.size


def begin(bench: Bench, attempt: Attempt, lane: Lane) -> Run:
    """Checks the request again, readies the networks, and gives the method, which has not begun.

    Raises:
        Problem: The job cannot be worked on.
    """
    storage, claim, outcome = bench.storage, attempt.claim, attempt.outcome
    order = find_order(storage, claim.job_id)
    uploads = storage.of(order.tenant)
    attempt.span = go_on("share", order.trace, job_id=claim.job_id, share=claim.share, attempt=claim.attempt)
    log.info("job.begun", request_id=order.request_id, model=order.request.get("model"), tenant=order.tenant)
    checked = check_request(
        parse_stored(order.request),
        bench.catalogue.of(order.tenant),
        storage,
        uploads,
        prefixes=bench.settings.picture_prefixes,
    )
    heartbeat = attempt.heartbeat
    lane.open(checked.release, heartbeat)
    opened = [attempt.held.enter_context(lane.open_judge(release, attempt.heartbeat)) for release in checked.judges]
    judges = tuple(Judge(release, judge) for release, (judge, _) in zip(checked.judges, opened, strict=True))
    digests = {release.reference: other.sha256 for release, (_, other) in zip(checked.judges, opened, strict=True)}
    outcome.provenance = describe_provenance(bench, checked, lane) | {"judges": digests}
    opener = Opener(uploads, checked.release.preprocessing, bench.settings.max_image_pixels, outcome.warn)
    task = Task(
        request=checked.request, release=checked.release, targets=choose_targets(checked, order, claim),
        classifier=lane.classifier, climber=lane.climber, batch=lane.plan.batch, judges=judges,
        load_picture=opener.load, decode=opener.decode, save=Saver(storage, claim, outcome),
        show=Thumbnail(Events(bench.records), claim.job_id),
        load_original=partial(bench.networks.load_original, checked.release),
        entries=attempt.held.enter_context(open_source(checked.request, storage, order.tenant, heartbeat.check)),
        all_targets=checked.targets or [],
        key=f"{VERSION} {torch.__version__} {lane.loaded.sha256} {lane.plan.precision}",
        evidence=Evidence(order.request.get("members", {}), storage.load_manifest, storage.bucket.get),
        checkpoint=storage.load_checkpoint(claim.job_id, claim.share) if claim.resumes else None,
        pool=lane.pool,
    )  # fmt: skip
    method = importlib.import_module(f"worker.methods.{checked.request.method}")
    return put_together(bench, method, task, order, attempt) if claim.whole else run_share(method, task, claim)


def find_order(storage: Storage, job_id: str, looks: int = 5) -> Order:
    """What was accepted. While clients repeat a request at once, a store that is plain files may miss it."""
    for _ in range(looks - 1):
        try:
            return load_order(storage, job_id)
        except NotFound:
            time.sleep(0.2)
    return load_order(storage, job_id)


def choose_targets(checked: Checked, order: Order, claim: Claim) -> list[int] | None:
    """The targets of the share, where the job has several; all of them for what puts shares together."""
    if checked.targets is None or claim.shares == 1 or claim.whole:
        return checked.targets
    return list(split(checked.targets, order.shares)[claim.share])


def run_share(method: Any, task: Task[Any], claim: Claim) -> Run:
    """The method, and what it makes of the whole job where this share is all of it."""
    found: dict[str, Any] = yield from method.run(task)
    return dict(method.gather(task, [found])) if claim.shares == 1 and hasattr(method, "gather") else found


def put_together(
    bench: Bench, method: Any, task: Task[Any], order: Order, attempt: Attempt
) -> Generator[Any, Any, dict[str, Any]]:
    """What the shares of a job have come to, as one result.

    Raises:
        Problem: All of them have failed; that of the first.
    """
    yield from ()
    numbers = range(len(order.shares))
    parts = [bench.storage.load_part(attempt.claim.job_id, number) or Part() for number in numbers]
    errors = [part.error for part in parts]
    if all(errors) and errors[0] is not None:
        raise Retold(errors[0])
    for part in parts:
        attempt.outcome.add(part)
    attempt.outcome.provenance |= describe_makers(parts)
    founds = [
        part.found if part.error is None else method.describe_failure(task, targets, part.error)
        for part, targets in zip(parts, split(task.all_targets, order.shares), strict=True)
    ]
    return dict(method.gather(task, founds))


def describe_makers(parts: Sequence[Part]) -> dict[str, Any]:
    """What the shares were made with; several, where workers differ."""
    made = [{name: part.provenance[name] for name in ("plan", "device")} for part in parts if part.provenance]
    different = [one for number, one in enumerate(made) if one not in made[:number]]
    return {"made_with": different} if len(different) > 1 else next(iter(different), {})


def split(targets: Sequence[int], shares: Sequence[int]) -> list[Sequence[int]]:
    """The targets of each share."""
    edges = [sum(shares[:number]) for number in range(len(shares) + 1)]
    return [targets[start:end] for start, end in pairwise(edges)]


def succeed(bench: Bench, attempt: Attempt, found: dict[str, Any]) -> Claim | None:
    """Writes down what came out; the claim to put the shares together, if this was the last of several."""
    outcome, claim = attempt.outcome, attempt.claim
    if claim.shares > 1 and not claim.whole:
        part = Part(
            found=found, artifacts=outcome.artifacts, keys=outcome.keys, warnings=outcome.warnings,
            provenance=outcome.provenance,
        )  # fmt: skip
        return end_part(bench, attempt, part)
    warnings = {"warnings": outcome.warnings} if outcome.warnings else {}
    job = find_live(bench, attempt)
    provenance = outcome.provenance | {"seconds": describe_times(attempt, job)}
    said = {"artifacts": outcome.artifacts, "metrics": warnings | found, "provenance": provenance}
    end(bench, attempt, ended(job, State.SUCCEEDED).model_copy(update=said))
    return None


def describe_times(attempt: Attempt, job: Job) -> dict[str, float]:
    """Seconds from when the job was accepted until this attempt claimed it, and until its first step was over."""
    moments = {"claimed": attempt.claimed, "first_step": attempt.stepped}
    return {name: (moment - job.created_at).total_seconds() for name, moment in moments.items() if moment is not None}


def fail(bench: Bench, attempt: Attempt, problem: Problem) -> Claim | None:
    """Writes down why nothing came of a share; the claim to put the shares together, if this was the last."""
    if attempt.claim.shares > 1 and not attempt.claim.whole:
        return end_part(bench, attempt, Part(error=problem.document, provenance=attempt.outcome.provenance))
    end(bench, attempt, ended(find_live(bench, attempt), State.FAILED, problem=problem))
    return None


def cancel(bench: Bench, attempt: Attempt, why: str) -> Claim | None:
    """Writes down that the job was cancelled; the claim to end it, if this was its last share."""
    if attempt.claim.shares > 1 and not attempt.claim.whole:
        return bench.claims.end_share(attempt.claim, bench.owner)
    end(bench, attempt, cancelled(find_live(bench, attempt), why))
    return None


def end_part(bench: Bench, attempt: Attempt, part: Part) -> Claim | None:
    """Stores what a share came to, then says that it has ended."""
    claim = attempt.claim
    bench.claims.renew(claim, attempt.heartbeat.progress)
    bench.storage.save_part(claim.job_id, claim.share, claim.fence, part)
    whole = bench.claims.end_share(claim, bench.owner)
    forget_checkpoints(bench, attempt)
    return whole


def forget_checkpoints(bench: Bench, attempt: Attempt) -> None:
    """Removes what nobody will go on from any more; if that cannot be done now, it goes with the job."""
    if attempt.kept or attempt.claim.resumes:
        with suppress(Unavailable):
            bench.storage.delete_checkpoints(attempt.claim.job_id, attempt.claim.share)


def find_live(bench: Bench, attempt: Attempt) -> Job:
    """The job as its record has it. Raises `ClaimLost` if it has none."""
    job = bench.records.find(attempt.claim.job_id)
    if job is None:
        raise ClaimLost(attempt.claim.ref)
    return job


def end(bench: Bench, attempt: Attempt, job: Job) -> None:
    """Ends the whole job."""
    progress = attempt.heartbeat.progress if attempt.claim.shares == 1 else job.progress
    if job.state is State.SUCCEEDED and progress.total:
        progress = progress.model_copy(update={"done": progress.total})
    job = job.model_copy(update={"progress": progress})
    job = end_job(bench.claims, bench.storage, attempt.claim, job, attempt.outcome.keys)
    forget_checkpoints(bench, attempt)
    log.info("job.ended", state=job.state)


def explain_failure(error: Exception) -> Problem:
    """The one place where the engine's errors become problems."""
    match error:
        case Problem():
            return error
        case torch.OutOfMemoryError():
            return OutOfMemory(f"{error}; ask for a smaller canvas or fewer views")
        case ValueError():  # what can be known of a request before was checked before
            return InvalidRequest(f"{error}; change the request's params")
    log.exception("job.failed", exc_info=error)
    return Internal(f"{type(error).__name__}: {error}; this is a fault of the service, please report it")


def describe_provenance(bench: Bench, checked: Checked, lane: Lane) -> dict[str, Any]:
    """Everything that it takes to make the result again."""
    on_gpu = bench.device.type == "cuda"
    release = checked.release
    return {
        "request": checked.request.model_dump(mode="json"),
        "model": {
            "reference": release.reference,
            "architecture": release.architecture,
            "sha256": lane.loaded.sha256,
        },
        "plan": asdict(lane.plan),
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else f"cpu ({platform.machine()})",
        "versions": {
            "archetype": VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": metadata.version("pillow"),
        },
        "container": bench.settings.container,
    }
