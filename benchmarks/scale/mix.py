"""The mix of jobs of the simulation: that of docs/operations.md."""

import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.queue.sharding import SHARD_COSTLY_PAIRS, SHARD_SLOTS
from shared.storage.documents import JobSpec
from worker.optimization.ascent_files import wants_extras

TENANTS = 10
RELEASE_NAMES = tuple(f"model-{number}@1" for number in range(12))
LANES = 2 * len(RELEASE_NAMES)
"""One for each release and method."""

STEPS = 130
"""Steps of a class visualization: the default recipe has 128."""

MAP_PASSES = 50
"""Passes of a SmoothGrad map."""

DEADLINE_SECONDS = 86_400


def passes_of(method: str) -> int:
    """Passes through the network of one item."""
    return STEPS if method == "class_model" else MAP_PASSES


@dataclass(frozen=True)
class JobKind:
    """A kind of job.

    Attributes:
        share: Part of all jobs.
        method: The method.
        priority: The priority.
        items: Smallest and largest number of targets, or of images.
    """

    share: float
    method: str
    priority: str
    items: tuple[int, int]

    @property
    def size(self) -> int:
        """Largest number of items of a shard."""
        return SHARD_SLOTS if self.method == "class_model" else SHARD_COSTLY_PAIRS

    @property
    def slot_steps(self) -> float:
        """Passes of one slot through the network that a job of this kind takes on average."""
        return sum(self.items) / 2 * passes_of(self.method)


MIX = (
    JobKind(0.65, "class_model", "interactive", (1, 4)),
    JobKind(0.15, "saliency", "interactive", (4, 16)),
    JobKind(0.14, "class_model", "bulk", (60, 140)),
    JobKind(0.05, "saliency", "bulk", (64, 192)),
    JobKind(0.01, "class_model", "bulk", (1000, 1000)),
)
"""All kinds of jobs."""

MEAN_SLOT_STEPS = sum(kind.share * kind.slot_steps for kind in MIX)


def count_files(method: str, items: int) -> int:
    """Number of artifacts of one item of a job with this many, with the default outputs."""
    if method == "class_model":
        return 5 if wants_extras(None, items) else 1
    return 3


def draw_job(generator: random.Random, moment: datetime) -> JobSpec:
    """Draws an accepted job, as the API stores it.

    Args:
        generator: Source of randomness.
        moment: When it is accepted.
    """
    (kind,) = generator.choices(MIX, [kind.share for kind in MIX])
    items, release = generator.randint(*kind.items), generator.choice(RELEASE_NAMES)
    tenant = min(int(generator.expovariate(0.4)), TENANTS - 1)  # the first tenant sends a third of all jobs
    shards = math.ceil(items / kind.size)
    edges = [items * number // shards for number in range(shards + 1)]
    return JobSpec(
        tenant=f"tenant-{tenant}",
        request={"method": kind.method, "model": release, "priority": kind.priority, "tags": []},
        lane=f"{release}/{kind.method}/shape",
        shards=[edges[number + 1] - edges[number] for number in range(shards)],
        weight=1,
        created_at=moment,
        deadline=moment + timedelta(seconds=DEADLINE_SECONDS),
    )
