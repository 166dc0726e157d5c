"""Measured execution plans, in a file that the workers of a machine share."""

import fcntl
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
import torch

from shared.catalogue.release import Release
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.execution_plan import ExecutionPlan

log = structlog.get_logger()


MAX_LOAD = 0.3
"""Processors that other processes may use while a plan is measured, so that it is kept for good."""

FIRST_SECONDS = 20.0
"""A network that was in use for so long, in seconds, is worth a measurement, which takes about as long."""

NEXT_SECONDS = 120.0
"""The same after a measurement on a busy machine. It doubles with each further one."""


class PlanCache:
    """Measured execution plans by network and device.

    A network starts with a plan that is not measured, so that no job waits for it. Once the network has been in use for
    a while, the worker measures the plan between two jobs. A plan that was measured while other processes used the
    machine is used as well, and measured again later.

    Attributes:
        path: The file; None to keep the plans only in this process.
    """

    def __init__(self, path: Path | None) -> None:
        """Creates a cache; the file is read when a plan is needed."""
        self.path = path
        self._plans: dict[str, ExecutionPlan] = {}
        self._used: defaultdict[str, float] = defaultdict(float)
        self._waits: dict[str, float] = {}

    def find(self, key: str, known: Mapping[str, Mapping[str, Any]] | None = None) -> ExecutionPlan | None:
        """Returns the measured plan of a key; None if there is none yet.

        Args:
            key: Names the network and the device; see `name_plan`.
            known: Plans that another worker stored with the release, by key.
        """
        if self._is_final(key):
            return self._plans[key]
        self._plans |= self._read()
        plan = _read_plan((known or {}).get(key))
        if key not in self._plans and plan is not None:
            self._plans[key] = self._store(key, plan)
        return self._plans.get(key)

    def note_use(self, key: str, seconds: float) -> None:
        """Notes that a network was in use for so many seconds."""
        self._used[key] += seconds

    def is_due(self, key: str, seconds: float = 0.0) -> bool:
        """Whether a plan is worth measuring.

        Args:
            key: Names the network and the device.
            seconds: How long the network has been in use, besides what was noted.
        """
        first = NEXT_SECONDS if key in self._plans else FIRST_SECONDS
        return not self._is_final(key) and self._used[key] + seconds >= self._waits.get(key, first)

    def measure(self, key: str, measure: Callable[[], ExecutionPlan]) -> ExecutionPlan | None:
        """Measures a plan, unless another process of this machine measures one at the moment.

        The next measurement is due after a longer time, also if this one fails.

        Returns:
            The plan to use from now on, if there is one.
        """
        self._used[key] = 0
        self._waits[key] = max(NEXT_SECONDS, 2 * self._waits.get(key, 0.0))
        with self._measuring() as is_alone:
            if is_alone and not self._is_final(key, self._read()):
                plan = measure()
                log.info("plan.measured", key=key, **asdict(plan))
                self._plans[key] = self._store(key, plan)
        return self.find(key)

    @contextmanager
    def _measuring(self) -> Iterator[bool]:
        """Whether no other process of this machine measures a plan during the block."""
        with ExitStack() as resources:
            is_alone = True
            try:
                if self.path is not None:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    lock = resources.enter_context(self.path.with_suffix(".measuring").open("w"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                is_alone = False
            except OSError as error:
                log.warning("plans.unwritable", path=str(self.path), error=str(error))
            yield is_alone

    def _is_final(self, key: str, plans: Mapping[str, ExecutionPlan] | None = None) -> bool:
        """Whether a plan was measured on a quiet machine."""
        plan = (self._plans if plans is None else plans).get(key)
        return plan is not None and plan.load <= MAX_LOAD

    def _read(self) -> dict[str, ExecutionPlan]:
        try:
            stored = json.loads(self.path.read_text()) if self.path else {}
            return {key: ExecutionPlan(**values) for key, values in stored.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("plans.unreadable", path=str(self.path), error=str(error))
            return {}

    def _store(self, key: str, plan: ExecutionPlan) -> ExecutionPlan:
        """Adds a plan to the file; returns the plan of another worker if that was first, so that all use the same.

        Of two plans of which one was measured on a busy machine, the one with the lower load counts.
        """
        if self.path is None:
            return _choose(plan, self._plans.get(key))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                plans = self._read()
                plans[key] = _choose(plan, plans.get(key))
                new = self.path.with_suffix(f".{os.getpid()}")
                new.write_text(json.dumps({name: asdict(stored) for name, stored in plans.items()}, indent=1))
                new.replace(self.path)
        except OSError as error:
            log.warning("plans.unwritable", path=str(self.path), error=str(error))
            return plan
        return plans[key]


def _choose(new: ExecutionPlan, stored: ExecutionPlan | None) -> ExecutionPlan:
    if stored is None or (stored.load > MAX_LOAD and new.load < stored.load):
        return new
    return stored


def _read_plan(stored: Mapping[str, Any] | None) -> ExecutionPlan | None:
    try:
        return ExecutionPlan(**stored) if stored else None
    except TypeError:  # of another version
        return None


def name_plan(sha256: str, release: Release, classifier: Classifier) -> str:
    """Returns the key of a plan: the network, its input size, the device, the torch version and its threads."""
    device = classifier.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu of {torch.get_num_threads()} threads"
    size = "x".join(map(str, (classifier.channels, *classifier.size)))
    built = hashlib.sha256(f"{release.architecture} {release.arguments} {release.output}".encode()).hexdigest()[:8]
    return f"{sha256[:16]} {built} {size} {name} torch {torch.__version__}"
