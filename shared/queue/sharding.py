"""Splits a job into shards: the units that workers claim."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from archetype.contract.parameters.inputs import Top
from archetype.contract.request import AnyRequest, ClassModel, ImageRequest, Patches, Trigger

SHARD_SLOTS = 8
"""Batch slots of a shard: the smallest batch of an execution plan. A worker with a larger batch claims several."""

SHARD_PAIRS = 64
"""Pairs of image and target of a shard, if a pair takes a few passes through the network: seconds on a slow worker."""

SHARD_COSTLY_PAIRS = 16
"""The same if a pair takes tens or hundreds of passes."""

SHARD_TRIGGERS = 48
"""Classes of a shard of a trigger search: they are compared with each other, so a shard must not be small."""

COSTLY_KINDS = ("smoothgrad", "integrated_gradients", "score_cam", "occlusion", "rise", "kernel_shap")
"""Kinds of maps that take many passes."""

EXCLUSIVE_SIZE = 1_000_000
"""Size, in batch slots, of a shard that occupies a worker by itself: it does not fit beside any other shard."""

UNLIMITED_ROOM = EXCLUSIVE_SIZE
"""Room, in batch slots, of a worker that has no shard: every shard fits."""


class ImageRange(NamedTuple):
    """The pairs of image and target of one shard: those of some images, in the order in which the job reads them.

    Attributes:
        start: Number of images before the first one.
        stop: Number of images up to the last one.
        first: Number of targets of the first image that belong to earlier shards.
        last: Number of targets of the last image that belong to this shard and earlier ones; None for all of them.
        after: Key in the bucket; under a prefix, the images are those whose keys follow this one.
        until: Key of the last image under a prefix; None for all that follow.
    """

    start: int
    stop: int
    first: int = 0
    last: int | None = None
    after: str = ""
    until: str | None = None


class Split(NamedTuple):
    """How a job is split.

    Attributes:
        shards: Number of items of each shard. An item is a target, or a pair of image and target.
        weight: Number of batch slots of one item.
        images: The images of each shard, if a job over images has several.
    """

    shards: list[int]
    weight: int
    images: tuple[ImageRange, ...] = ()

    @property
    def stored_fields(self) -> dict[str, Any]:
        """Fields of the stored request. Its format is newer if workers of earlier versions cannot run the shards."""
        return {**self._asdict(), "format": 3 if self.images else 2}


WHOLE_JOB = Split([1], EXCLUSIVE_SIZE)
"""A job that is one shard and shares its worker with no other job."""


def split_job(request: AnyRequest, targets: list[int] | None, images: int | Sequence[str] = 0) -> Split:
    """Splits a job into shards of about the same size.

    Args:
        request: The request.
        targets: Class indices, if the request names targets.
        images: Number of images; for a prefix of the store, their keys.
    """
    if isinstance(request, ClassModel):
        return _split_class_model(len(targets or []), len(request.params.seeds))
    if isinstance(request, Trigger):
        return _split_triggers(len(targets or []))
    if not isinstance(request, ImageRequest):
        return WHOLE_JOB
    counts = list(_count_pairs(request, targets, images if isinstance(images, int) else len(images)))
    ranges = list(_split_images(counts, _choose_size(request)))
    if len(ranges) > 1:
        return _split_pairs(request, counts, ranges, [] if isinstance(images, int) else images)
    return WHOLE_JOB if request.params.shape is None or not counts else Split([sum(counts)], 1)


def count_pairs(image: ImageRange, counts: Sequence[int]) -> int:
    """Number of pairs of a shard, from the number of pairs of each image of the job."""
    ends = counts[image.stop - 1] if image.last is None else image.last
    return sum(counts[image.start : image.stop - 1]) + ends - image.first


def _split_class_model(count: int, seeds: int) -> Split:
    shards = math.ceil(count / max(1, SHARD_SLOTS // seeds))
    return Split([end - start for start, end in pairwise(_divide(count, shards))], seeds)


def _split_triggers(count: int) -> Split:
    """Shards of classes; each uses all images of the job, and occupies its worker."""
    edges = _divide(count, max(1, math.ceil(count / SHARD_TRIGGERS)))
    sizes = [end - start for start, end in pairwise(edges)]
    return WHOLE_JOB if len(sizes) == 1 else Split(sizes, EXCLUSIVE_SIZE // max(sizes))


def _split_pairs(request: ImageRequest, counts: list[int], ranges: list[ImageRange], keys: Sequence[str]) -> Split:
    shards = [count_pairs(image_range, counts) for image_range in ranges]
    if keys:
        ranges = [_limit_keys(image_range, keys) for image_range in ranges]
    # A worker that has no shard has room for this one, and beside it there is room for none.
    weight = 1 if request.params.shape is not None else EXCLUSIVE_SIZE // max(shards)
    return Split(shards, weight, tuple(ranges))


def _limit_keys(images: ImageRange, keys: Sequence[str]) -> ImageRange:
    """Names images by their keys, so that no image is left out or read twice if others are added meanwhile."""
    is_open = images.stop == len(keys) and images.last is None
    after = keys[images.start - 1] if images.start else ""
    return images._replace(after=after, until=None if is_open else keys[images.stop - 1])


def _choose_size(request: ImageRequest) -> int:
    """The largest number of pairs of a shard."""
    params = request.params
    if params.passes:
        return max(1, SHARD_SLOTS // params.passes)
    is_costly = isinstance(request, Patches) or getattr(params, "kind", "") in COSTLY_KINDS
    return SHARD_COSTLY_PAIRS if is_costly or getattr(params, "metrics", None) else SHARD_PAIRS


def _split_images(counts: Sequence[int], limit: int) -> Iterator[ImageRange]:
    """Splits images, by their numbers of pairs, into ranges of at most `limit` pairs and about the same size.

    Only an image with more pairs than that belongs to several ranges.
    """
    left = sum(counts)
    start = size = 0
    for number, count in enumerate(counts):
        if size and size + count > math.ceil(left / math.ceil(left / limit)):
            yield ImageRange(start, number)
            start, left, size = number, left - size, 0
        if count > limit:
            edges = _divide(count, math.ceil(count / limit))
            yield from (ImageRange(number, number + 1, first, last) for first, last in pairwise(edges))
            start, left = number + 1, left - count
        else:
            size += count
    if size:
        yield ImageRange(start, len(counts))


def _divide(count: int, parts: int) -> list[int]:
    """The edges of so many parts of about the same size."""
    return [round(count * number / parts) for number in range(parts + 1)]


def _count_pairs(request: ImageRequest, targets: list[int] | None, images: int) -> Iterator[int]:
    """Number of pairs of each image. Images can have targets of their own."""
    classes = request.classes
    per_image = len(targets) if targets is not None else classes.top if isinstance(classes, Top) else 1
    if request.pictures:
        yield from (len(image.targets or "") or per_image for image in request.pictures)
    else:
        yield from [per_image] * images
