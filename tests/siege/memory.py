"""Peak memory of the processes of a stack, and the limits that the deployment sets for them."""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.processes import ProcessGroup
from tests.chaos.processes import list_descendants, read_parents
from tests.support.paths import ROOT

SAMPLE_SECONDS = 0.25
MANIFESTS = ROOT / "deploy" / "kubernetes"
UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def read_limits() -> dict[str, int]:
    """Returns the smallest memory limit of each container in the Kubernetes manifests, in bytes, by its name."""
    limits: dict[str, int] = {}
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        for container in (
            one for document in yaml.safe_load_all(path.read_text()) for one in list_containers(document)
        ):
            quantity = container.get("resources", {}).get("limits", {}).get("memory")
            if quantity is not None:
                name, size = container["name"], parse_quantity(quantity)
                limits[name] = min(size, limits.get(name, size))
    return limits


def list_containers(document: Any) -> list[dict[str, Any]]:
    """Returns the containers of a Deployment or StatefulSet; none of another document."""
    if not isinstance(document, dict) or document.get("kind") not in ("Deployment", "StatefulSet"):
        return []
    return list(document["spec"]["template"]["spec"]["containers"])


def parse_quantity(text: str) -> int:
    """Returns the bytes of a quantity such as `512Mi`."""
    match = re.fullmatch(r"(\d+)([KMG]i)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity of memory such as 512Mi")
    return int(match[1]) * UNITS[match[2] or ""]


@dataclass
class Use:
    """Memory of one process in kilobytes: the largest resident size that was sampled, and the kernel's own peak."""

    sampled: int = 0
    peak: int = 0


@dataclass
class PartMemory:
    """Memory of one part of a stack, with all its processes.

    Pages that several processes share count once (PSS). What the kernel's peak of a process (VmHWM) says beyond the
    samples is added, so that a short peak between two samples counts.
    """

    first: int | None = None
    largest: int = 0
    processes: dict[int, Use] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """The peak in bytes."""
        between = sum(max(0, use.peak - use.sampled) for use in self.processes.values())
        return (self.largest + between) * 1024

    @property
    def growth(self) -> int:
        """How far the peak is above the first sample, in bytes."""
        return self.peak - (self.first or 0) * 1024

    def sample(self, pids: list[int]) -> None:
        """Samples the processes of the part."""
        total = 0
        for pid in pids:
            with suppress(OSError, KeyError):
                status = read_fields(Path(f"/proc/{pid}/status"))
                total += read_fields(Path(f"/proc/{pid}/smaps_rollup")).get("Pss", status["VmRSS"])
                use = self.processes.setdefault(pid, Use())
                use.sampled, use.peak = max(use.sampled, status["VmRSS"]), status["VmHWM"]
        self.first = total if self.first is None else self.first
        self.largest = max(self.largest, total)


class MemoryWatch:
    """Samples the memory of every process of a stack during a block."""

    def __init__(self, processes: ProcessGroup) -> None:
        self.parts: dict[str, PartMemory] = {}
        self._processes = processes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> Self:
        for pids in self._list_trees().values():
            for pid in pids:
                with suppress(OSError):
                    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins again at the present size
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            for name, pids in self._list_trees().items():
                self.parts.setdefault(name, PartMemory()).sample(pids)
            if self._stop.wait(SAMPLE_SECONDS):
                return

    def _list_trees(self) -> dict[str, list[int]]:
        """Returns the processes of each part."""
        parents = read_parents()
        children = dict(self._processes.children)
        return {name: [child.pid, *list_descendants(child.pid, parents)] for name, child in children.items()}


def read_fields(path: Path) -> dict[str, int]:
    """Returns the fields of a file in /proc whose values are numbers of kilobytes."""
    return dict(_parse(path.read_text()))


def _parse(text: str) -> Iterator[tuple[str, int]]:
    for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE):
        yield name, int(value)
