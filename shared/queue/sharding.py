"""Splits a job into shards: the units that workers claim."""

import math
from itertools import pairwise
from typing import NamedTuple

from archetype.contract.parameters.inputs import Top
from archetype.contract.request import AnyRequest, ClassModel, ImageRequest

SHARD_SLOTS = 8
"""Batch slots of a shard: the smallest batch of an execution plan. A worker with a larger batch claims several."""

EXCLUSIVE_SIZE = 1_000_000
"""Size, in batch slots, of a shard that occupies a worker by itself: it does not fit beside any other shard."""

UNLIMITED_ROOM = EXCLUSIVE_SIZE
"""Room, in batch slots, of a worker that has no shard: every shard fits."""


class Split(NamedTuple):
    """How a job is split.

    Attributes:
        shards: Number of items of each shard. An item is a target, or a pair of image and target.
        weight: Number of batch slots of one item.
    """

    shards: list[int]
    weight: int


WHOLE_JOB = Split([1], EXCLUSIVE_SIZE)
"""A job that is one shard and shares its worker with no other job."""


def split_job(request: AnyRequest, targets: list[int] | None) -> Split:
    """Splits a job into shards of about the same size.

    Args:
        request: The request.
        targets: Class indices, if the request names targets.
    """
    if isinstance(request, ClassModel):
        return _split_class_model(len(targets or []), len(request.params.seeds))
    if request.params.shape is not None and isinstance(request, ImageRequest) and request.pictures:
        return Split([_count_pairs(request, targets)], 1)
    return WHOLE_JOB


def _split_class_model(count: int, seeds: int) -> Split:
    shards = math.ceil(count / max(1, SHARD_SLOTS // seeds))
    edges = [round(count * number / shards) for number in range(shards + 1)]
    return Split([end - start for start, end in pairwise(edges)], seeds)


def _count_pairs(request: ImageRequest, targets: list[int] | None) -> int:
    """Number of pairs of image and target. Images can have targets of their own."""
    classes = request.classes
    per_image = len(targets) if targets is not None else classes.top if isinstance(classes, Top) else 1
    return sum(len(image.targets or "") or per_image for image in request.pictures)
