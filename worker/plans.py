"""The plans of networks that were measured here before, kept in a file that a machine's workers share."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import structlog
import torch

from worker.engine.classifier import Classifier
from worker.engine.plan import Plan

log = structlog.get_logger()


class Plans:
    """Plans by network and machine.

    Attributes:
        path: Where they are remembered; None: only by this process.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, Plan] = {}

    def find(self, key: str, measure: Callable[[], Plan]) -> Plan:
        """The plan of a key, measured if it is new."""
        if key not in self._known:
            self._known |= self._read()
        if key not in self._known:
            plan = measure()
            log.info("plan.measured", key=key, **asdict(plan))
            self._known[key] = self._remember(key, plan)
        return self._known[key]

    def _read(self) -> dict[str, Plan]:
        try:
            stored = json.loads(self.path.read_text()) if self.path else {}
            return {key: Plan(**values) for key, values in stored.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("plans.unreadable", path=str(self.path), error=str(error))
            return {}

    def _remember(self, key: str, plan: Plan) -> Plan:
        """Adds a plan to the file; the one that is there already wins, so that all workers do the same."""
        if self.path is None:
            return plan
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                plans = {key: plan} | self._read()
                fresh = self.path.with_suffix(f".{os.getpid()}")
                fresh.write_text(json.dumps({name: asdict(known) for name, known in plans.items()}, indent=1))
                fresh.replace(self.path)
        except OSError as error:
            log.warning("plans.unwritable", path=str(self.path), error=str(error))
            return plan
        return plans[key]


def name_plan(sha256: str, classifier: Classifier) -> str:
    """What a plan depends on: the network, its input, the device, torch and its threads."""
    device = classifier.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu of {torch.get_num_threads()} threads"
    size = "x".join(map(str, (classifier.channels, *classifier.size)))
    return f"{sha256[:16]} {size} {name} torch {torch.__version__}"
