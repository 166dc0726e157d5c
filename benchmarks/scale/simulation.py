"""One simulation: a fleet of some size, its clients, upgrades and losses, and what was measured."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import structlog
import torch

from api.adapters.admission import Admission
from api.dependencies import connect
from archetype.contract.job import TERMINAL, State
from benchmarks.scale.bucket import SimulatedBucket
from benchmarks.scale.clients import Clients
from benchmarks.scale.clock import SimulatedClock, replaced_time
from benchmarks.scale.gpu import GpuSpeed, Preparation, replaced_gpu
from benchmarks.scale.messages import Messages
from benchmarks.scale.metered_redis import CallCosts, MeteredClaims, MeteredRedisClient, RedisMeter
from benchmarks.scale.mix import LANES, MEAN_SLOT_STEPS, RELEASE_NAMES
from benchmarks.scale.redis_server import RedisServer, run_redis
from benchmarks.scale.workers import Fleet
from shared.catalogue.release import Release
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.worker_registry import WorkerRegistry
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from worker.execution.recovery import LeaseMonitor, Recovery
from worker.execution.worker_context import WorkerContext

LOSSES_PER_HOUR = 0.01
"""Part of the workers that lose their machine per hour."""

JOBS_PER_LANE = 20

UPGRADE_SECONDS = 3600.0
"""Time of a rolling upgrade of the whole fleet."""


@dataclass(frozen=True)
class Scale:
    """What is simulated.

    Attributes:
        workers: Number of workers, each with a GPU.
        seconds: Simulated time that is measured.
        load: Jobs that arrive, as a part of what the GPUs can compute.
        speed: How fast the GPUs are.
        warm_up: Simulated time before, in which batches fill.
        least_lost: Number of workers that are lost at least, also in a short simulation.
    """

    workers: int
    seconds: float
    load: float = 1.0
    speed: GpuSpeed = field(default_factory=GpuSpeed)
    warm_up: float = 10.0
    least_lost: int = 1

    @property
    def job_rate(self) -> float:
        """Jobs that arrive per second."""
        return self.load * self.workers * self.speed.rate / MEAN_SLOT_STEPS

    @property
    def backlog(self) -> int:
        """Jobs that wait at the beginning: work for ten seconds, and enough in each lane to fill batches."""
        return max(int(10 * self.job_rate), JOBS_PER_LANE * LANES)

    @property
    def loss_rate(self) -> float:
        """Workers that are lost per second."""
        return max(self.workers * LOSSES_PER_HOUR / 3600, self.least_lost / self.seconds)


@dataclass(frozen=True)
class Measured:
    """What a simulation has measured.

    Attributes:
        scale: What was simulated.
        throughput: Passes of finished shards relative to those of GPUs that are always full.
        busy: Part of the time in which the GPUs computed.
        redis_cpu: CPU seconds of Redis per second.
        memory: Memory of Redis at the end, in bytes.
        ended: Number of jobs that have ended.
        failed: Number of jobs that have failed.
        submitted: Number of accepted jobs.
        refused: Number of refused jobs.
        lost: Number of workers that were lost.
        replaced: Number of workers that were replaced.
        calls: Calls of Redis by kind.
        store_calls: Calls of the store by kind.
        artifacts: Number of stored artifacts.
        submits: Seconds of each submission.
        lists: Seconds of each list.
    """

    scale: Scale
    throughput: float
    busy: float
    redis_cpu: float
    memory: int
    ended: int
    failed: int
    submitted: int
    refused: int
    lost: int
    replaced: int
    calls: dict[str, CallCosts]
    store_calls: dict[str, int]
    artifacts: int
    submits: list[float]
    lists: list[float]


class Simulation:
    """The parts of a simulation.

    Attributes:
        clock: The simulated clock.
        fleet: The workers.
        clients: The clients.
    """

    def __init__(self, scale: Scale, server: RedisServer, clock: SimulatedClock) -> None:
        self._scale, self._server = scale, server
        self.clock = clock
        self.meter = RedisMeter(server, clock)
        self.bucket = SimulatedBucket(clock)
        self._redis_client = MeteredRedisClient(server, self.meter)
        self.messages = Messages(self._redis_client, clock)
        self._context = self._build_context()
        self.job_index = self._context.job_index
        self.preparation = Preparation({}, {}, {})
        self.fleet = Fleet(clock, self._context, self._build_recovery(), self.messages, self.preparation, scale.speed)
        self.generator = random.Random(scale.workers)
        self.clients = self._build_clients()

    def run(self) -> Measured:
        """Runs the simulation."""
        self._register_releases()
        for _ in range(self._scale.workers):
            self.fleet.add(after=self.generator.uniform(0, 1), loaded=RELEASE_NAMES)
        for _ in range(self._scale.backlog):
            self.clients.submit()
        self.meter.reset()
        self.clock.spawn(lambda: self.clients.arrive(self._scale.job_rate))
        self.clock.run(self._scale.warm_up)
        return self._measure()

    def _measure(self) -> Measured:
        self._reset()
        for function in (self._lose_workers, self._upgrade_workers):
            self.clock.spawn(function)
        cpu, ended = self._server.read_cpu_seconds(), self._count_ended()
        self.clock.run(self._scale.seconds)
        cpu = self._server.read_cpu_seconds() - cpu
        gpus = self.preparation.gpus.values()
        gpu_seconds = self._scale.workers * self._scale.seconds
        return Measured(
            scale=self._scale,
            throughput=sum(gpu.useful for gpu in gpus) / self._scale.speed.rate / gpu_seconds,
            busy=sum(gpu.busy for gpu in gpus) / gpu_seconds,
            redis_cpu=cpu / self._scale.seconds,
            memory=self._server.read_memory(),
            ended=self._count_ended() - ended,
            failed=self.job_index.count(State.FAILED),
            submitted=len(self.clients.submits),
            refused=self.clients.refused,
            lost=self.fleet.lost,
            replaced=self.fleet.replaced,
            calls=dict(self.meter.costs),
            store_calls=dict(self.bucket.calls),
            artifacts=self.bucket.artifacts,
            submits=self.clients.submits,
            lists=self.clients.lists,
        )

    def _reset(self) -> None:
        self.meter.reset()
        self.bucket.reset()
        self.clients.reset()
        for gpu in self.preparation.gpus.values():
            gpu.busy, gpu.useful = 0.0, 0

    def _count_ended(self) -> int:
        return sum(self.job_index.count(state) for state in TERMINAL)

    def _lose_workers(self) -> None:
        while True:
            self.clock.sleep(1 / self._scale.loss_rate * self.generator.uniform(0.5, 0.9))
            self.fleet.lose(self.generator.randrange(len(self.fleet.workers)))

    def _upgrade_workers(self) -> None:
        while True:
            self.clock.sleep(UPGRADE_SECONDS / self._scale.workers)
            self.fleet.upgrade()

    def _register_releases(self) -> None:
        storage = self._context.storage
        for name in RELEASE_NAMES:
            entry = Release(
                name=name.removesuffix("@1"), release="1", architecture="torchvision:resnet50", classes=["one"]
            )
            storage.save_registration(Registration(entry=entry, state=RegistrationState.ACCEPTED))

    def _build_context(self) -> WorkerContext:
        client = self._redis_client
        unused = cast("Any", None)  # what only a network needs
        return WorkerContext(
            settings=self._server.settings,
            redis_client=client,
            job_index=JobIndex(client),
            locks=Locks(client),
            claims=MeteredClaims(client),
            storage=JobStore(self.bucket),
            outbox=Outbox(client, self.bucket),
            catalogue=unused,
            networks=unused,
            plans=unused,
            device=torch.device("cpu"),
        )

    def _build_recovery(self) -> Recovery:
        context = self._context
        return Recovery(
            settings=context.settings,
            redis_client=context.redis_client,
            job_index=context.job_index,
            locks=context.locks,
            claims=context.claims,
            storage=context.storage,
            outbox=context.outbox,
            broker=cast("Any", None),
            leases=LeaseMonitor(context.settings.lease_seconds),
        )

    def _build_clients(self) -> Clients:
        context, client = self._context, self._redis_client
        services = replace(
            connect(context.settings),
            redis_client=client,
            job_index=context.job_index,
            claims=context.claims,
            storage=context.storage,
            admission=Admission(client),
            worker_registry=WorkerRegistry(client),
            catalogue=cast("Any", NamedReleases()),
        )
        return Clients(self.clock, services, self.meter, self.generator)


class NamedReleases:
    """A catalogue that has every release."""

    def of(self, _tenant: str) -> "NamedReleases":
        """The releases of a tenant."""
        return self

    def find(self, model: str) -> SimpleNamespace:
        """The release of this name."""
        return SimpleNamespace(identity=model)


@contextmanager
def prepared(scale: Scale) -> Iterator[Simulation]:
    """Runs what a simulation needs for the length of a `with` block."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    clock = SimulatedClock()
    with ExitStack() as stack:
        server = stack.enter_context(run_redis(clock))
        stack.enter_context(replaced_time(clock))
        simulation = Simulation(scale, server, clock)
        stack.enter_context(replaced_gpu(simulation.preparation, clock))
        for name in ("api.services.submit_job.send_job", "worker.execution.recovery.send_job"):
            stack.enter_context(patch(name, simulation.messages.send))
        stack.enter_context(patch("worker.execution.recovery.count_messages", simulation.messages.count))
        yield simulation
