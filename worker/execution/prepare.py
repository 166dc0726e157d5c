"""Prepares an attempt: checks the request again, opens the networks, and creates the context and the method's run."""

import platform
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
import structlog
import torch

from archetype.version import VERSION
from shared.errors import NotFound, StoredProblem
from shared.lifecycle.rebuild import load_spec
from shared.process.tracing import continue_trace
from shared.queue.claims import Claim
from shared.state.events import Events
from shared.storage.documents import JobSpec, ShardResult
from shared.storage.job_store import JobStore
from shared.validation.request import CheckedRequest, check_request
from shared.validation.store_keys import expand_prefixes
from shared.validation.stored_request import parse_stored
from worker.execution.attempt import Attempt
from worker.execution.lane import Lane
from worker.execution.worker_context import WorkerContext
from worker.inputs.decoding import open_decoder
from worker.inputs.preprocess import ImageReader
from worker.inputs.sources import open_source
from worker.job.cobatch import MethodRun
from worker.job.context import Evaluator, ImageAccess, JobContext, ResumeState
from worker.job.member_results import MemberResults
from worker.methods.registry import METHODS, Method
from worker.output.artifacts import ArtifactWriter
from worker.output.preview import PreviewWriter

log = structlog.get_logger()


def prepare(worker_context: WorkerContext, attempt: Attempt, lane: Lane) -> None:
    """Sets the run of an attempt, which does not begin yet, and its span.

    Raises:
        Problem: The job cannot run.
    """
    claim, storage = attempt.claim, worker_context.storage
    spec = find_spec(storage, claim.job_id)
    attempt.span = continue_trace("share", spec.trace, job_id=claim.job_id, shard=claim.shard, attempt=claim.attempt)
    log.info("job.begun", request_id=spec.request_id, model=spec.request.get("model"), tenant=spec.tenant)
    checked = check_request(
        parse_stored(spec.request),
        worker_context.catalogue.of(spec.tenant),
        storage,
        storage.of(spec.tenant),
        prefixes=expand_prefixes(worker_context.settings.picture_prefixes, spec.tenant),
    )
    lane.open(checked.release, attempt.heartbeat)
    evaluators, digests = open_evaluators(checked, attempt, lane)
    attempt.output.provenance = describe_provenance(worker_context, checked, lane) | {"judges": digests}
    context = build_context(worker_context, attempt, lane, spec, checked, evaluators)
    method = METHODS[checked.request.method]
    attempt.run = (
        assemble_job(worker_context, method, context, spec, attempt)
        if claim.is_assembly
        else run_shard(method, context, claim)
    )


def find_spec(storage: JobStore, job_id: str, tries: int = 5) -> JobSpec:
    """Loads the accepted request; tries again, because a store of plain files may miss it while it is rewritten."""
    for _ in range(tries - 1):
        try:
            return load_spec(storage, job_id)
        except NotFound:
            time.sleep(0.2)
    return load_spec(storage, job_id)


def open_evaluators(
    checked: CheckedRequest, attempt: Attempt, lane: Lane
) -> tuple[tuple[Evaluator, ...], dict[str, str]]:
    """Opens the evaluators until the attempt ends; returns them, and the digests of their weights by reference."""
    evaluators: list[Evaluator] = []
    digests: dict[str, str] = {}
    for release in checked.judges:
        classifier, loaded = attempt.resources.enter_context(lane.open_evaluator(release, attempt.heartbeat))
        evaluators.append(Evaluator(release, classifier))
        digests[release.reference] = loaded.sha256
    return tuple(evaluators), digests


def build_context(
    worker_context: WorkerContext,
    attempt: Attempt,
    lane: Lane,
    spec: JobSpec,
    checked: CheckedRequest,
    evaluators: tuple[Evaluator, ...],
) -> JobContext[Any]:
    """Builds the context of an attempt; its input images stay open until the attempt ends."""
    claim, storage, release = attempt.claim, worker_context.storage, checked.release
    decode = open_decoder(worker_context.settings)
    reader = ImageReader(storage.of(spec.tenant), release.preprocessing, decode, attempt.output.warn)
    source = open_source(checked.request, storage, spec.tenant, attempt.heartbeat.check)
    entries = attempt.resources.enter_context(source)
    return JobContext(
        request=checked.request,
        release=release,
        targets=choose_targets(checked, spec, claim),
        all_targets=checked.targets or [],
        classifier=lane.classifier,
        fast_classifier=lane.fast_classifier,
        batch=lane.plan.batch,
        evaluators=evaluators,
        images=ImageAccess(entries, reader.load, reader.decode),
        resume=ResumeState(
            key=f"{VERSION} {torch.__version__} {lane.loaded.sha256} {lane.plan.precision}",
            checkpoint=storage.load_checkpoint(claim.job_id, claim.shard) if claim.resumes else None,
        ),
        member_results=MemberResults(spec.request.get("members", {}), storage.load_manifest, storage.bucket.get),
        load_original=partial(worker_context.networks.load_original, release),
        save=ArtifactWriter(storage, claim, attempt.output),
        output=attempt.output,
        show=PreviewWriter(Events(worker_context.redis_client), claim.job_id),
        executor=lane.executor,
    )


def choose_targets(checked: CheckedRequest, spec: JobSpec, claim: Claim) -> list[int] | None:
    """Returns the targets of the shard; all targets of the job if it has one shard, or to assemble the job."""
    if checked.targets is None or claim.shards == 1 or claim.is_assembly:
        return checked.targets
    return list(split(checked.targets, spec.shards)[claim.shard])


def split(targets: Sequence[int], shards: Sequence[int]) -> list[Sequence[int]]:
    """Splits the targets of a job into those of each shard, by the number of targets that each shard has."""
    edges = [sum(shards[:number]) for number in range(len(shards) + 1)]
    return [targets[start:end] for start, end in pairwise(edges)]


def run_shard(method: Method, context: JobContext[Any], claim: Claim) -> MethodRun:
    """Runs the method, and completes the job if the shard is the whole job."""
    metrics = yield from method.run(context)
    return method.gather(context, [metrics]) if claim.shards == 1 else metrics


def assemble_job(
    worker_context: WorkerContext, method: Method, context: JobContext[Any], spec: JobSpec, attempt: Attempt
) -> Generator[Any, Any, dict[str, Any]]:
    """Combines the stored results of all shards into the result of the job.

    Raises:
        Problem: All shards have failed; it is the problem of the first one.
    """
    yield from ()  # a generator without steps, as a method run
    storage, job_id = worker_context.storage, attempt.claim.job_id
    results = [storage.load_shard_result(job_id, shard) or ShardResult() for shard in range(len(spec.shards))]
    errors = [result.error for result in results]
    if all(errors) and errors[0] is not None:
        raise StoredProblem(errors[0])
    for result in results:
        attempt.output.add(result)
    attempt.output.provenance |= describe_makers(results)
    metrics = [
        result.metrics if result.error is None else method.describe_failure(context, targets, result.error)
        for result, targets in zip(results, split(context.all_targets, spec.shards), strict=True)
    ]
    return method.gather(context, metrics)


def describe_makers(results: Sequence[ShardResult]) -> dict[str, Any]:
    """Returns the execution plan and the device of the shards; a list of them if they differ."""
    makers = [{name: result.provenance[name] for name in ("plan", "device")} for result in results if result.provenance]
    distinct = [maker for number, maker in enumerate(makers) if maker not in makers[:number]]
    return {"made_with": distinct} if len(distinct) > 1 else next(iter(distinct), {})


def describe_provenance(worker_context: WorkerContext, checked: CheckedRequest, lane: Lane) -> dict[str, Any]:
    """Returns everything that is needed to reproduce the result, except the evaluators."""
    on_gpu = worker_context.device.type == "cuda"
    release = checked.release
    return {
        "request": checked.request.model_dump(mode="json"),
        "model": {
            "reference": release.reference,
            "architecture": release.architecture,
            "sha256": lane.loaded.sha256,
            "output": lane.classifier.reader.describe(),
            "prepared": list(lane.classifier.prepared.steps),
        },
        "plan": asdict(lane.plan),
        "device": torch.cuda.get_device_name(worker_context.device) if on_gpu else f"cpu ({platform.machine()})",
        "versions": {
            "archetype": VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": metadata.version("pillow"),
        },
        "container": worker_context.settings.container,
    }
