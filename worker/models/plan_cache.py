"""Cache of measured execution plans, in a file that the workers of a machine share."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
import torch

from shared.catalogue.release import Release
from worker.engine.model.autotune import ExecutionPlan
from worker.engine.model.classifier import Classifier

log = structlog.get_logger()


MAX_LOAD = 0.3
"""Processors that other processes may use while a plan is measured, so that it is kept for good."""

REMEASURE_SECONDS = 120.0
"""Time after which a plan that was measured on a busy machine is measured again."""


class PlanCache:
    """Execution plans by network and device.

    A plan that was measured while other processes used the machine is used at first, and measured again later.

    Attributes:
        path: The file; None to keep the plans only in this process.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Creates a cache; the file is read when a plan is needed."""
        self.path = path
        self._clock = clock
        self._plans: dict[str, ExecutionPlan] = {}
        self._known_since: dict[str, float] = {}

    def find(
        self, key: str, measure: Callable[[], ExecutionPlan], known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> ExecutionPlan:
        """Returns the plan of a key.

        Args:
            key: Names the network and the device; see `name_plan`.
            measure: Measures the plan, if it is neither in the cache nor known, or was measured on a busy machine.
            known: Plans that another worker stored with the release, by key.
        """
        if key not in self._plans:
            self._plans |= self._read()
        if key not in self._plans:
            plan = _read_plan((known or {}).get(key))
            self._plans[key] = self._store(key, _measure(key, measure) if plan is None else plan)
        elif self._is_due(key):
            self._plans |= self._read()
            if self._plans[key].load > MAX_LOAD:
                self._plans[key] = self._store(key, _measure(key, measure))
            self._known_since[key] = self._clock()
        self._known_since.setdefault(key, self._clock())
        return self._plans[key]

    def _is_due(self, key: str) -> bool:
        """Whether a plan was measured on a busy machine, some time ago."""
        since = self._known_since.get(key, self._clock())
        return self._plans[key].load > MAX_LOAD and self._clock() - since >= REMEASURE_SECONDS

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


def _measure(key: str, measure: Callable[[], ExecutionPlan]) -> ExecutionPlan:
    plan = measure()
    log.info("plan.measured", key=key, **asdict(plan))
    return plan


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
