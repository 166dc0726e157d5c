"""Cache of measured execution plans, in a file that the workers of a machine share."""

import fcntl
import hashlib
import json
import os
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


class PlanCache:
    """Execution plans by network and device.

    Attributes:
        path: The file; None to keep the plans only in this process.
    """

    def __init__(self, path: Path | None) -> None:
        """Creates a cache; the file is read when a plan is needed."""
        self.path = path
        self._plans: dict[str, ExecutionPlan] = {}

    def find(
        self, key: str, measure: Callable[[], ExecutionPlan], known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> ExecutionPlan:
        """Returns the plan of a key.

        Args:
            key: Names the network and the device; see `name_plan`.
            measure: Measures the plan, if it is neither in the cache nor known.
            known: Plans that another worker stored with the release, by key.
        """
        if key not in self._plans:
            self._plans |= self._read()
        if key not in self._plans:
            plan = _read_plan((known or {}).get(key))
            if plan is None:
                plan = measure()
                log.info("plan.measured", key=key, **asdict(plan))
            self._plans[key] = self._store(key, plan)
        return self._plans[key]

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
        """Adds a plan to the file; returns the plan of another worker if that was first, so that all use the same."""
        if self.path is None:
            return plan
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                plans = {key: plan} | self._read()
                new = self.path.with_suffix(f".{os.getpid()}")
                new.write_text(json.dumps({name: asdict(stored) for name, stored in plans.items()}, indent=1))
                new.replace(self.path)
        except OSError as error:
            log.warning("plans.unwritable", path=str(self.path), error=str(error))
            return plan
        return plans[key]


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
