"""The simulated fleet: every worker runs the service's own code for lanes, leases, results and recovery."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from greenlet import greenlet

from benchmarks.scale.clock import SimulatedClock
from benchmarks.scale.gpu import GpuSpeed, Preparation, SimulatedGpu
from benchmarks.scale.messages import Messages
from benchmarks.scale.pool import SimulatedPool
from shared.catalogue.registered import RegisteredReleases
from shared.state.worker_registry import WorkerRegistry
from worker.execution.lane_runner import run_next_lane
from worker.execution.recovery import MAX_SWEEPERS, MISSED_SWEEPS, LeaseMonitor, Recovery
from worker.execution.worker_context import BACKGROUND, WorkerContext
from worker.output.artifacts import UPLOADS

START_SECONDS = 20.0
"""Time until a new worker takes its first job: a process that imports PyTorch and loads its driver."""

REPLACE_SECONDS = 60.0
"""Time until the worker of a lost machine runs on another one, before it starts."""


@dataclass
class SimulatedWorker:
    """A worker of the fleet.

    Attributes:
        name: Its name in claims, messages and the registry.
        context: Its context, as that of a worker process.
        gpu: Its GPU.
        processes: Its child process, which runs lanes, and its parent process, which runs the recovery.
    """

    name: str
    context: WorkerContext
    gpu: SimulatedGpu
    processes: tuple[greenlet, ...] = ()


class Fleet:
    """All workers of a simulation.

    Attributes:
        workers: The workers that run, the one that started first at the front.
        lost: Number of workers that lost their machine.
        replaced: Number of workers that an upgrade has replaced.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        context: WorkerContext,
        recovery: Recovery,
        messages: Messages,
        preparation: Preparation,
        speed: GpuSpeed,
    ) -> None:
        self.workers: list[SimulatedWorker] = []
        self.lost = self.replaced = 0
        self._clock, self._context, self._recovery = clock, context, recovery
        self._messages, self._preparation, self._speed = messages, preparation, speed
        self._registry = WorkerRegistry(context.redis_client)

    def add(self, *, after: float = 0.0, loaded: Iterable[str] = ()) -> None:
        """Starts a worker.

        Args:
            after: Seconds until it runs.
            loaded: Releases that it has in memory.
        """
        name, gpu = f"worker-{uuid4().hex[:8]}", SimulatedGpu(self._clock, self._speed)
        uploads, background = (SimulatedPool(self._clock, size) for size in (UPLOADS, BACKGROUND))
        stopping = threading.Event()
        context = replace(self._context, owner=name, stopping=stopping, uploads=uploads, background=background)
        self._preparation.gpus[name], self._preparation.loaded[name] = gpu, set(loaded)
        self._preparation.read_releases[name] = RegisteredReleases(context.storage, self._clock.read)
        worker = SimulatedWorker(name, context, gpu)
        functions = (partial(self._run_lanes, worker), partial(self._recover, worker))
        worker.processes = tuple(self._clock.spawn(function, after=after) for function in functions)
        self.workers.append(worker)

    def lose(self, number: int) -> None:
        """Stops a worker at once, as if its machine had lost power; another one starts elsewhere."""
        worker = self.workers.pop(number)
        for process in worker.processes:
            self._clock.stop(process)
        self.lost += 1
        self.add(after=REPLACE_SECONDS + START_SECONDS)

    def upgrade(self) -> None:
        """Asks the oldest worker to stop; a new one starts when it has returned its shards."""
        self.workers.pop(0).context.stopping.set()
        self.replaced += 1
        self.add(after=START_SECONDS)

    def _run_lanes(self, worker: SimulatedWorker) -> None:
        """Does what the tasks of `worker/app.py` do."""
        while not worker.context.stopping.is_set():
            tag = self._messages.receive(worker.name)
            if tag is not None:
                self._registry.report(worker.name, sorted(self._preparation.loaded[worker.name]), busy=True)
                if run_next_lane(worker.context, self._messages.wake_others):
                    self._messages.wake_others()
                self._registry.report(worker.name, sorted(self._preparation.loaded[worker.name]), busy=False)
                self._messages.acknowledge(tag)

    def _recover(self, worker: SimulatedWorker) -> None:
        """Does what the threads of `RecoveryThreads` do."""
        settings, locks = self._context.settings, self._context.locks
        monitor = LeaseMonitor(settings.lease_seconds, looked_at=self._clock.seconds)
        recovery, reconciled_at = replace(self._recovery, leases=monitor), self._clock.seconds
        while not worker.context.stopping.is_set():
            self._clock.sleep(settings.sweep_seconds)
            seconds = MISSED_SWEEPS * settings.sweep_seconds
            has_place = locks.keep_place("sweep", worker.name, places=MAX_SWEEPERS, seconds=seconds)
            self._registry.renew(worker.name)
            if has_place:
                recovery.sweep()
            if has_place and self._clock.seconds - reconciled_at > settings.reconcile_seconds:
                recovery.reconcile()
                reconciled_at = self._clock.seconds
