"""One attempt at a job: claim it, run its method, store what comes out, end it."""

import importlib
import json
import os
import platform
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any, cast

import numpy as np
import structlog
import torch
from celery.exceptions import SoftTimeLimitExceeded
from torch import nn

from shared.bucket import Missing
from shared.catalogue import Catalogue, Release
from shared.checks import Checked, check_request, parse_request
from shared.ending import end_job, ended
from shared.errors import (
    Internal,
    InvalidRequest,
    MalformedJSON,
    NotFound,
    OutOfMemory,
    Problem,
    TimeLimitExceeded,
    Unavailable,
    UnloadableModel,
)
from shared.jobs import Job, Progress, State
from shared.records import Claim, ClaimLost, Records
from shared.settings import Settings
from shared.storage import Storage
from shared.version import VERSION
from worker.engine.plan import Plan, as_planned, measure_plan
from worker.heartbeat import Cancelled, Heartbeat, keep_alive
from worker.networks import Loaded, Networks
from worker.opener import Opener
from worker.outcome import Outcome, Saver
from worker.plans import Plans, name_plan
from worker.sources import open_source
from worker.task import Judge, Run, Task

log = structlog.get_logger()


@dataclass(frozen=True)
class Bench:
    """What a worker process works with, set up once."""

    settings: Settings
    records: Records
    storage: Storage
    catalogue: Catalogue
    networks: Networks
    plans: Plans
    device: torch.device


def run_job(bench: Bench, job_id: str) -> None:
    """Makes an attempt at a job, if it is there to be claimed. Every way out ends the job or leaves it to the sweep."""
    claim = bench.records.claim(job_id, socket.gethostname())
    if claim is None:
        return
    with structlog.contextvars.bound_contextvars(job_id=job_id, attempt=claim.attempt):
        log.info("job.claimed")
        try:
            job = attempt(bench, claim)
        except ClaimLost:
            log.warning("job.lost")
        except Unavailable as problem:
            log.warning("job.interrupted", error=problem.detail)
            give_back(bench, claim)
        else:
            log.info("job.ended", state=job.state)
            leave_if_broken(bench.device)


def leave_if_broken(device: torch.device) -> None:
    """Ends this process if its GPU no longer works: later jobs would fail or, worse, succeed with garbage."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            log.exception("device.broken")
            os._exit(1)


def give_back(bench: Bench, claim: Claim) -> None:
    """A store that does not answer is neither the job's fault nor a result: the sweep sends the job again, later."""
    try:
        bench.records.give_back(claim)
    except (ClaimLost, Unavailable):
        log.warning("job.lost")  # its lease runs out, and the sweep finds it


def attempt(bench: Bench, claim: Claim) -> Job:
    """Runs the claimed job to its end and writes that end down."""
    job = bench.records.find(claim.job_id)
    if job is None:
        raise ClaimLost(claim.job_id)
    settings = bench.settings
    outcome = Outcome()
    with keep_alive(
        bench.records, claim, lease_seconds=settings.lease_seconds, job_seconds=settings.job_seconds
    ) as heartbeat:
        end = find_end(bench, claim, job, outcome, heartbeat)
        found = {"artifacts": outcome.artifacts, "metrics": outcome.metrics, "provenance": outcome.provenance}
        if end.state is State.SUCCEEDED:
            end = end.model_copy(update=found)
        return end_job(bench.records, bench.storage, claim, end.model_copy(update={"progress": heartbeat.progress}))


def find_end(bench: Bench, claim: Claim, job: Job, outcome: Outcome, heartbeat: Heartbeat) -> Job:
    """Runs the job's method; whatever happens becomes the job as it ends."""
    try:
        earlier = bench.storage.load_manifest(claim.job_id)
        if earlier is not None:
            return earlier.job
        heartbeat.report(heartbeat.progress)
        work(bench, claim, outcome, heartbeat)
        return ended(job, State.SUCCEEDED)
    except Cancelled:
        return ended(job, State.CANCELLED)
    except (ClaimLost, Unavailable):
        raise
    except Problem as problem:
        return ended(job, State.FAILED, problem=problem)
    except SoftTimeLimitExceeded:
        return ended(job, State.FAILED, problem=TimeLimitExceeded("the job's step took longer than a whole job may"))
    except Exception as error:
        log.exception("job.failed")
        return ended(job, State.FAILED, problem=explain_failure(error))


def explain_failure(error: Exception) -> Problem:
    """The one place where the engine's errors become problems."""
    match error:
        case torch.OutOfMemoryError():
            return OutOfMemory(f"{error}; ask for a smaller canvas or fewer views")
        case ValueError():  # what can be known of a request before was checked before
            return InvalidRequest(f"{error}; change the request's params")
    return Internal(f"{type(error).__name__}: {error}; this is a fault of the service, please report it")


def work(bench: Bench, claim: Claim, outcome: Outcome, heartbeat: Heartbeat) -> None:
    """Checks the request again, readies the networks and lets the method run, step by step."""
    request = parse_request(load_body(bench.storage, claim.job_id))
    checked = check_request(request, bench.catalogue, bench.storage, prefixes=bench.settings.picture_prefixes)
    with ExitStack() as stack:
        report = partial(report_load, heartbeat)
        classifier, loaded = stack.enter_context(bench.networks.open(checked.release, report))
        describe_or_compare(bench.storage, checked.release, loaded)
        stack.enter_context(interrupted_by(heartbeat, classifier.network))
        plan = bench.plans.find(name_plan(loaded.sha256, classifier), partial(measure_plan, classifier))
        opened = [stack.enter_context(bench.networks.open(release, report)) for release in checked.judges]
        judges = tuple(Judge(release, judge) for release, (judge, _) in zip(checked.judges, opened, strict=True))
        entries = stack.enter_context(open_source(checked.request, bench.storage))
        digests = {release.reference: other.sha256 for release, (_, other) in zip(checked.judges, opened, strict=True)}
        outcome.provenance = describe_provenance(bench, checked, loaded, plan) | {"judges": digests}
        opener = Opener(bench.storage, checked.release.preprocessing, bench.settings.max_image_pixels, outcome.warn)
        task = Task(
            request=checked.request, release=checked.release, targets=checked.targets, classifier=classifier,
            climber=as_planned(classifier, plan), batch=plan.batch, judges=judges,
            load_picture=opener.load, decode=opener.decode, save=Saver(bench.storage, claim, outcome),
            load_original=partial(bench.networks.load_original, checked.release), entries=entries,
        )  # fmt: skip
        outcome.metrics |= step_through(find_method(request.method)(task), heartbeat)


def describe_or_compare(storage: Storage, release: Release, loaded: Loaded) -> None:
    """Describes a release that no worker has; raises `UnloadableModel` where its weights are not those it had then."""
    described = storage.load_description(release.name, release.release)
    if described is None:
        storage.save_description(release.name, release.release, loaded.description)
        return
    has_file = release.weights is not None or release.key is not None or release.published
    if has_file and described.sha256 != loaded.sha256:
        raise UnloadableModel(
            f"the weights of {release.reference} have changed from {described.sha256[:16]}… to {loaded.sha256[:16]}…; "
            "releases never change: put them back, or give the new ones a release of their own"
        )


def report_load(heartbeat: Heartbeat, done: int, total: int) -> None:
    """Shows how much of a network's weights has been fetched, where they lie elsewhere; a cancellation stops it."""
    heartbeat.report(Progress(done=done // 1_000_000, total=total // 1_000_000, unit="megabyte"))


@contextmanager
def interrupted_by(heartbeat: Heartbeat, network: nn.Module) -> Iterator[None]:
    """Looks for news of the job before every pass through the network: a map may take hundreds between two steps."""

    def look_up(*_: object) -> None:
        heartbeat.report(heartbeat.progress)

    hook = network.register_forward_pre_hook(look_up)
    try:
        yield
    finally:
        hook.remove()


def step_through(run: Run, heartbeat: Heartbeat) -> dict[str, Any]:
    """Lets the method take its steps, reporting each, until it returns its metrics."""
    while True:
        try:
            heartbeat.report(next(run))
        except StopIteration as stop:
            return cast("dict[str, Any]", stop.value)


def find_method(name: str) -> Any:
    """The `run` of the file in `worker/methods/` that bears the method's name."""
    return importlib.import_module(f"worker.methods.{name}").run


def load_body(storage: Storage, job_id: str) -> object:
    """The stored request, as JSON."""
    try:
        return json.loads(find_body(storage, job_id))
    except Missing as error:
        raise NotFound("the stored request is gone; submit the job again") from error
    except ValueError as error:
        raise MalformedJSON(f"the stored request is not JSON: {error}") from error


def find_body(storage: Storage, job_id: str, looks: int = 5) -> bytes:
    """The stored request's bytes. While clients repeat a request at once, a store that is plain files may miss it."""
    for _ in range(looks - 1):
        try:
            return storage.load_request_json(job_id)
        except Missing:
            time.sleep(0.2)
    return storage.load_request_json(job_id)


def describe_provenance(bench: Bench, checked: Checked, loaded: Loaded, plan: Plan) -> dict[str, Any]:
    """Everything that it takes to make the result again."""
    on_gpu = bench.device.type == "cuda"
    release = checked.release
    return {
        "request": checked.request.model_dump(mode="json"),
        "model": {"reference": release.reference, "architecture": release.architecture, "sha256": loaded.sha256},
        "plan": asdict(plan),
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else f"cpu ({platform.machine()})",
        "versions": {
            "archetype": VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": metadata.version("pillow"),
        },
    }
