"""The simulated part of a worker: its GPU, and the preparation of an attempt, which loads a network onto it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from archetype.contract.job import Progress
from benchmarks.scale.clock import SimulatedClock
from benchmarks.scale.mix import count_files, passes_of
from shared.storage.documents import JobSpec
from worker.execution.attempt import Attempt
from worker.execution.heartbeat import BEAT_SECONDS, HeartbeatThread
from worker.execution.lane import Lane
from worker.execution.prepare import find_spec
from worker.execution.worker_context import WorkerContext
from worker.job.assembly import StoredParts
from worker.job.cobatch import BatchRequest, MethodRun
from worker.output.artifacts import ArtifactWriter

BATCH = 32

LOAD_SECONDS = 2.0
"""Time to load a network that the worker does not have in memory."""

CHECKPOINT = bytes(1000)

PASSES_AT_ONCE = 5
"""Passes of a simulated step, so that the benchmark takes minutes; workers look for shards every 100 ms at most."""


@dataclass(frozen=True)
class GpuSpeed:
    """How fast a GPU is.

    Attributes:
        step_seconds: Time of one pass of a full batch through the network, forward and backward. The default is that of
            ResNet-50 at 224 px on an H100, by arithmetic: 1,600 images per second.
    """

    step_seconds: float = 0.020

    @property
    def rate(self) -> float:
        """Passes of slots per second if the batch is always full."""
        return BATCH / self.step_seconds

    def split_passes(self, slots: int) -> Iterator[float]:
        """The seconds of each pass of so many slots. A part of the time does not depend on the size of the batch."""
        for start in range(0, slots, BATCH):
            yield self.step_seconds * (0.3 + 0.7 * min(BATCH, slots - start) / BATCH)


@dataclass
class SimulatedGpu:
    """Takes time instead of computing.

    Attributes:
        clock: The simulated clock.
        speed: How fast it is.
        busy: Seconds in which it computed since the last reset.
        useful: Passes of slots through the network of shards that were computed to their end.
    """

    clock: SimulatedClock
    speed: GpuSpeed
    busy: float = 0.0
    useful: int = 0

    def compute(self, payloads: Sequence[int], /) -> list[None]:
        """Takes some steps of a batch of slots; more than a full batch takes several passes for each."""
        seconds = PASSES_AT_ONCE * sum(self.speed.split_passes(sum(payloads)))
        self.busy += seconds
        self.clock.sleep(seconds)
        return [None] * len(payloads)


class SimulatedLane(Lane):
    """A lane whose network has the batch of the simulated GPU."""

    @property
    def batch(self) -> int:
        """Number of places in a batch."""
        return BATCH

    def must_measure(self) -> bool:
        """Never: the speed of the GPU is given."""
        return False


class SimulatedHeartbeats(HeartbeatThread):
    """Renews leases as the thread of a worker does, in a greenlet on the simulated clock."""

    clock: SimulatedClock

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Runs the greenlet until the block ends."""
        self.clock.spawn(self._beat_all, after=BEAT_SECONDS, is_child=True)
        try:
            yield
        finally:
            self._stop.set()

    def _beat_all(self) -> None:
        while not self._stop.is_set():
            self.renew()
            self.clock.sleep(BEAT_SECONDS)


@dataclass(frozen=True)
class Preparation:
    """Prepares attempts of the workers of a simulation, as `worker.execution.prepare` does with a network.

    Attributes:
        gpus: The GPU of each worker, by its owner.
        loaded: Releases in the memory of each worker.
        read_releases: Reads the registered releases, for each worker.
        refreshing: Workers that read them now. Their other threads would wait for a lock, which greenlets cannot.
    """

    gpus: dict[str, SimulatedGpu]
    loaded: dict[str, set[str]]
    read_releases: dict[str, Callable[[], object]]
    refreshing: set[str] = field(default_factory=set)

    def read_order(self, worker_context: WorkerContext, attempt: Attempt) -> JobSpec:
        """Reads what an attempt needs from the store."""
        claim, storage, owner = attempt.claim, worker_context.storage, worker_context.owner
        spec = find_spec(storage, claim.job_id)
        if owner not in self.refreshing:
            self.refreshing.add(owner)
            self.read_releases[owner]()
            self.refreshing.discard(owner)
        if claim.resumes:
            storage.load_checkpoint(claim.job_id, claim.shard)
        return spec

    def prepare(self, worker_context: WorkerContext, attempt: Attempt, spec: JobSpec, _lane: Lane) -> None:
        """Sets the run of an attempt."""
        claim, storage, owner = attempt.claim, worker_context.storage, worker_context.owner
        self._load(owner, spec.request["model"])
        attempt.output.provenance = {"plan": {"batch": BATCH}, "device": "simulated"}
        save = ArtifactWriter(storage, claim, attempt.output, worker_context.uploads)
        if claim.is_assembly:
            attempt.run = assemble(worker_context, spec, attempt, save)
        else:
            attempt.run = run_shard(spec, attempt, save, self.gpus[owner])

    def _load(self, owner: str, release: str) -> None:
        if release not in self.loaded[owner]:
            self.loaded[owner].add(release)
            self.gpus[owner].clock.sleep(LOAD_SECONDS)


def run_shard(spec: JobSpec, attempt: Attempt, save: ArtifactWriter, gpu: SimulatedGpu) -> MethodRun:
    """Takes the steps of a shard, then saves its files."""
    method, slots = spec.request["method"], attempt.claim.size
    passes = passes_of(method)
    for step in range(0, passes, PASSES_AT_ONCE):
        progress = Progress(done=step * slots, total=passes * slots, unit="step")
        yield BatchRequest(gpu, slots, progress, lambda: CHECKPOINT)
    gpu.useful += passes * slots
    files = count_files(method, sum(spec.shards))
    for item in range(slots):
        for number in range(files):
            save(f"{attempt.claim.shard}-{item}-{number}.png", b"")
    metrics = {"targets": [{"target": item, "score": 1.0} for item in range(slots)]}
    if attempt.claim.shards == 1:
        save_common(save)
    return metrics


def assemble(worker_context: WorkerContext, spec: JobSpec, attempt: Attempt, save: ArtifactWriter) -> MethodRun:
    """Combines the results of all shards, as the worker does."""
    yield from ()
    parts = StoredParts(
        worker_context.storage,
        attempt.claim.job_id,
        len(spec.shards),
        attempt.output,
        lambda _shard, problem: {"error": problem.title},
        attempt.heartbeat.check,
    )
    count = sum(len(part.get("targets", ())) for part in parts.read())
    save_common(save)
    return {"targets": count}


def save_common(save: ArtifactWriter) -> None:
    """Saves the files of a whole job."""
    save("contact-sheet.png", b"")
    save("metrics.json", b"")


@contextmanager
def replaced_gpu(preparation: Preparation, clock: SimulatedClock) -> Iterator[None]:
    """Makes lanes run on simulated GPUs, with heartbeats on the simulated clock, for the length of a `with` block."""
    SimulatedHeartbeats.clock = clock
    with (
        patch("worker.execution.running_attempts.read_order", preparation.read_order),
        patch("worker.execution.lane_runner.prepare", preparation.prepare),
        patch("worker.execution.lane_runner.Lane", SimulatedLane),
        patch("worker.execution.running_attempts.HeartbeatThread", SimulatedHeartbeats),
    ):
        yield
