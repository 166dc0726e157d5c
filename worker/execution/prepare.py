"""Prepares an attempt: reads and checks the request, opens the networks, creates the context and the method's run."""

import platform
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import structlog
import torch

from archetype.contract.problem import ProblemDocument
from archetype.contract.request import AnyRequest, ImageRequest
from archetype.version import VERSION
from shared.audits.searches import StoredSearches
from shared.errors import NotFound
from shared.lifecycle.rebuild import load_spec
from shared.process.tracing import continue_trace
from shared.queue.claims import Claim
from shared.state.events import Events
from shared.storage.documents import JobSpec
from shared.storage.job_store import JobStore
from shared.validation.request import CheckedRequest, check_request
from shared.validation.store_keys import expand_prefixes
from shared.validation.stored_request import parse_stored
from worker.execution.attempt import Attempt
from worker.execution.lane import Lane
from worker.execution.worker_context import WorkerContext
from worker.inputs.decoding import open_decoder
from worker.inputs.preprocess import ImageReader
from worker.inputs.sources import InputImage, open_source
from worker.job.assembly import StoredParts, split
from worker.job.cobatch import MethodRun
from worker.job.context import Evaluator, ImageAccess, JobContext, ResumeState, ShardPlace
from worker.job.member_results import MemberResults
from worker.methods.registry import METHODS, Method
from worker.output.artifacts import ArtifactWriter
from worker.output.preview import PreviewWriter

log = structlog.get_logger()


@dataclass(frozen=True)
class Order:
    """What an attempt needs from the store before it can run.

    Attributes:
        spec: The accepted request.
        place: Which part of the job the attempt computes.
        checked: The checked request, limited to that part.
        entries: The input images, which stay open until the attempt ends.
        checkpoint: The checkpoint from which the attempt resumes; None if there is none.
    """

    spec: JobSpec
    place: ShardPlace
    checked: CheckedRequest
    entries: Sequence[InputImage]
    checkpoint: bytes | None


def read_order(worker_context: WorkerContext, attempt: Attempt) -> Order:
    """Reads what an attempt needs from the store, in any thread, and sets its span.

    Raises:
        Problem: The job cannot run.
    """
    claim, storage = attempt.claim, worker_context.storage
    spec = find_spec(storage, claim.job_id)
    place = find_place(spec, claim)
    attempt.span = continue_trace("share", spec.trace, job_id=claim.job_id, shard=claim.shard, attempt=claim.attempt)
    log.info("job.begun", request_id=spec.request_id, model=spec.request.get("model"), tenant=spec.tenant)
    request = parse_stored(spec.request)
    checked = check_request(
        narrow(request, place, claim),
        worker_context.catalogue.of(spec.tenant),
        storage,
        storage.of(spec.tenant),
        prefixes=expand_prefixes(worker_context.settings.picture_prefixes, spec.tenant),
    )
    if isinstance(request, ImageRequest):
        checked = replace(checked, request=request.model_copy(update={"model": checked.release.reference}))
    entries: Sequence[InputImage] = ()
    if not claim.is_assembly:
        source = open_source(checked.request, storage, spec.tenant, attempt.heartbeat.check, place.images)
        entries = attempt.resources.enter_context(source)
    checkpoint = storage.load_checkpoint(claim.job_id, claim.shard) if claim.resumes else None
    return Order(spec, place, checked, entries, checkpoint)


def prepare(worker_context: WorkerContext, attempt: Attempt, order: Order, lane: Lane) -> None:
    """Opens the networks of an attempt, and sets its run, which does not begin yet.

    Raises:
        Problem: The job cannot run.
    """
    lane.open(order.checked.release, attempt.heartbeat)
    evaluators, digests = open_evaluators(order.checked, attempt, lane)
    attempt.output.provenance = describe_provenance(worker_context, order.checked, lane) | {"judges": digests}
    context = build_context(worker_context, attempt, lane, order, evaluators)
    method = METHODS[order.checked.request.method]
    attempt.run = (
        assemble_job(worker_context, method, context, order.spec, attempt)
        if attempt.claim.is_assembly
        else run_shard(method, context, attempt.claim)
    )


def find_place(spec: JobSpec, claim: Claim) -> ShardPlace:
    """Finds which part of its job a claim is for."""
    if not spec.images or claim.is_assembly:
        return ShardPlace(claim.shard, claim.shards)
    return ShardPlace(claim.shard, claim.shards, spec.images[claim.shard], sum(spec.shards))


def narrow(request: AnyRequest, place: ShardPlace, claim: Claim) -> AnyRequest:
    """Limits the listed images of a request to those of a shard, because each takes a call of the store to check."""
    if not isinstance(request, ImageRequest) or not request.pictures:
        return request
    part = place.images
    if part is not None:
        return request.model_copy(update={"images": request.pictures[part.start : part.stop]})
    return request.model_copy(update={"images": []}) if claim.is_assembly else request


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
    order: Order,
    evaluators: tuple[Evaluator, ...],
) -> JobContext[Any]:
    """Builds the context of an attempt."""
    claim, storage, spec, checked = attempt.claim, worker_context.storage, order.spec, order.checked
    release = checked.release
    decode = open_decoder(worker_context.settings)
    reader = ImageReader(storage.of(spec.tenant), release.preprocessing, decode, attempt.output.warn)
    return JobContext(
        request=checked.request,
        release=release,
        targets=choose_targets(checked, spec, claim),
        all_targets=checked.targets or [],
        place=order.place,
        classifier=lane.classifier,
        fast_classifier=lane.fast_classifier,
        batch=lane.plan.batch,
        evaluators=evaluators,
        images=ImageAccess(order.entries, reader.load, reader.decode),
        resume=ResumeState(
            key=f"{VERSION} {torch.__version__} {lane.loaded.sha256} {lane.plan.precision}",
            checkpoint=order.checkpoint,
        ),
        member_results=MemberResults(spec.request.get("members", {}), storage.load_manifest, storage.bucket.get),
        searches=StoredSearches(storage.bucket, spec.tenant),
        load_original=partial(worker_context.networks.load_original, release),
        save=ArtifactWriter(storage, claim, attempt.output, worker_context.uploads),
        output=attempt.output,
        show=PreviewWriter(Events(worker_context.redis_client), claim.job_id),
        executor=lane.executor,
    )


def choose_targets(checked: CheckedRequest, spec: JobSpec, claim: Claim) -> list[int] | None:
    """Returns the targets of the shard: all of the job's, unless its shards have different targets."""
    if checked.targets is None or claim.shards == 1 or claim.is_assembly or spec.images:
        return checked.targets
    return list(split(checked.targets, spec.shards)[claim.shard])


def run_shard(method: Method, context: JobContext[Any], claim: Claim) -> MethodRun:
    """Runs the method, and completes the job if the shard is the whole job."""
    metrics = yield from method.run(context)
    return method.gather(context, [metrics]) if claim.shards == 1 else metrics


def assemble_job(
    worker_context: WorkerContext, method: Method, context: JobContext[Any], spec: JobSpec, attempt: Attempt
) -> Generator[Any, Any, dict[str, Any]]:
    """Combines the stored results of all shards into the result of the job. Raises as `StoredParts.read` does."""
    yield from ()  # a generator without steps, as a method run
    check = attempt.heartbeat.check

    def describe_failure(shard: int, problem: ProblemDocument) -> dict[str, Any]:
        place = find_place(spec, replace(attempt.claim, shard=shard))
        targets = context.targets if spec.images else list(split(context.all_targets, spec.shards)[shard])
        with open_source(context.request, worker_context.storage, spec.tenant, check, place.images) as entries:
            images = replace(context.images, entries=entries)
            return method.describe_failure(replace(context, targets=targets, place=place, images=images), problem)

    parts = StoredParts(
        worker_context.storage, attempt.claim.job_id, len(spec.shards), attempt.output, describe_failure, check
    )
    return method.gather(context, parts.read())


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
