"""Pairs of an image and a target class, in full batches; only one batch of them is in memory at a time."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor

from archetype.contract.job import TargetClass
from archetype.contract.parameters.inputs import ImageInput, Top
from archetype.contract.problem import FieldError
from shared.errors import InvalidRequest, NotFinite, Problem, Unavailable
from shared.validation.job_inputs import check_pairs
from worker.engine.model.classifier import Classifier
from worker.engine.render import flatten_channels
from worker.inputs.predictions import describe_prediction, score_views
from worker.inputs.preprocess import Levels, shrink
from worker.inputs.sources import InputImage
from worker.inputs.view import OpenView, View, open_view
from worker.job.cobatch import BatchRequest, run_alone
from worker.job.context import JobContext

PREVIEW_SIDE = 640
"""Longest side in pixels of the image that results are drawn on."""


@dataclass(frozen=True)
class Pair:
    """An image and a target class.

    Attributes:
        name: Name of the image in its archive or in the store; its id otherwise.
        image: The image as the request describes it, with its id.
        view: The part of the image that the network sees.
        preview: The whole image in RGB, its longest side at most `PREVIEW_SIDE`, (H, W, 3).
        target: Class index.
        prediction: The prediction of the network for the image and the target.
    """

    name: str
    image: ImageInput
    view: View
    preview: Levels
    target: int
    prediction: dict[str, Any]

    def describe(self, target: TargetClass | None = None) -> dict[str, Any]:
        """Describes image, target and prediction for the metrics; without a target, only the predicted class."""
        fields = {"image": self.image.id} | ({} if self.name == self.image.id else {"name": self.name})
        if target is None:
            return fields | {"predicted": self.prediction["predicted"]}
        return fields | {"target": target.model_dump(), **self.prediction}


class Failure(NamedTuple):
    """A part of a job without a result.

    Attributes:
        name: Name of the image in its archive or in the store; its id otherwise.
        problem: Why it has no result.
        part: The target or the layer of the image that has no result; empty if the whole image has none.
    """

    name: str
    problem: Problem
    part: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """The failure, for the metrics."""
        return {"image": self.name, **self.part, "error": self.problem.document.model_dump(mode="json")}


class DecodedImage(NamedTuple):
    """An image that was read and decoded, (H, W, C)."""

    entry: InputImage
    image: ImageInput
    levels: Levels


@dataclass(frozen=True)
class Pairs:
    """All pairs of a shard.

    Attributes:
        context: The context of the shard.
        opening: Opens the view of an image.
        failed: Images that could not be read or scored, and pairs without a result; grows while pairs are read.
        first: The first name of each image, by its id.
        repeated: By name, the first name of the same image; it is read only once.
        at_once: Number of images that are read at a time; None for a full batch.
    """

    context: JobContext[Any]
    opening: OpenView
    failed: list[Failure] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    at_once: int | None = None

    def count(self) -> int:
        """Returns the number of pairs of the shard, if every image can be read.

        Raises:
            InvalidRequest: There are more than one job may have; for a prefix of the store, only the worker knows.
        """
        entries = self.context.images.entries
        count = sum(len(range(self._count_targets(entry.image))[self._choose_targets(entry)]) for entry in entries)
        check_pairs(self.context.request, count)
        return count

    def read(self) -> Iterator[list[Pair]]:
        """Yields full batches of pairs; an image that cannot be read or scored is left out and added to `failed`."""
        reader, executor = PairReader(self), ScoreExecutor(self.context.classifier)
        while batch := run_alone(reader.next(executor)):
            yield batch

    def pair(self, images: Sequence[DecodedImage], rows: Tensor) -> Iterator[Pair]:
        """Yields the pairs of N images, with their predictions from class scores (N, K)."""
        release, reader = self.context.release, self.context.classifier.reader
        for (entry, image, levels), scores in zip(images, rows, strict=True):
            if not bool(scores.isfinite().all()):
                self.failed.append(Failure(entry.name, explain_scores(release.classes, scores), {}))
                continue
            view, preview = self.opening(levels), flatten_channels(shrink(levels, PREVIEW_SIDE))
            ranked = scores.argsort(descending=True).tolist()
            targets = self._find_targets(image) or ranked[: self._count_targets(image)]
            for target in targets[self._choose_targets(entry)]:
                prediction = describe_prediction(release, reader, scores, target)
                yield Pair(entry.name, image, view, preview, target, prediction)

    def decode(self, entry: InputImage) -> DecodedImage | None:
        """Reads and decodes an image; None if it cannot be read, or was read before."""
        try:
            data = entry.read()
            image = entry.identify(data)
            if self.first.setdefault(image.id, entry.name) != entry.name:
                self.repeated[entry.name] = self.first[image.id]
                return None
            levels = self.context.images.decode(data)
            self._check_size(levels)
            return DecodedImage(entry, image, levels)
        except Unavailable:
            raise
        except Problem as problem:
            self.failed.append(Failure(entry.name, problem, {}))
            return None

    def fail(self, pair: Pair, problem: Problem, **part: Any) -> None:
        """Adds a pair, or a part of it, that has no result."""
        self.failed.append(Failure(pair.name, problem, part))

    def _check_size(self, levels: Levels) -> None:
        """Raises `InvalidRequest` if the parameters do not fit an image of this size."""
        fault = self.context.request.params.find_fault(levels.shape[1], levels.shape[0])
        if fault is not None:
            name, detail = fault
            raise InvalidRequest(detail, FieldError(field=f"/params/{name}", detail=detail))

    def _choose_targets(self, entry: InputImage) -> slice:
        """Which targets of an image belong to the shard; those of an image with many may belong to several shards."""
        part, entries = self.context.place.images, self.context.images.entries
        if part is None:
            return slice(None)
        return slice(part.first if entry is entries[0] else 0, part.last if entry is entries[-1] else None)

    def _find_targets(self, image: ImageInput | None) -> list[int] | None:
        """Returns the targets that the request names; None if the predictions select them."""
        classes = image.targets if image else None
        return self.context.release.resolve_targets(classes) if classes else self.context.targets

    def _count_targets(self, image: ImageInput | None) -> int:
        targets, classes = self._find_targets(image), self.context.request.classes
        if targets is not None:
            return len(targets)
        return min(classes.top, len(self.context.release.classes)) if isinstance(classes, Top) else 1


def explain_scores(classes: Sequence[str], scores: Tensor) -> NotFinite:
    """The reason why class scores (K,) cannot be used."""
    faulty = [classes[index] for index in (~scores.isfinite()).nonzero().flatten().tolist()]
    what = "NaN" if bool(scores.isnan().any()) else "an infinite score"
    return NotFinite(
        f"the network gives {what} for this picture ({len(faulty)} of {len(scores)} scores, the first is that of "
        f"{faulty[0]}); look for a division by zero, a root or a logarithm in its code"
    )


class Position(NamedTuple):
    """How far the pairs of a shard are processed.

    Attributes:
        images: Number of images whose pairs are all processed.
        pairs: Number of pairs of the next image that are processed.
    """

    images: int = 0
    pairs: int = 0


class PairReader:
    """Reads all pairs of a shard once, a batch at a time."""

    def __init__(self, pairs: Pairs, start: Position = Position()) -> None:  # noqa: B008 - it is immutable
        """Creates a reader before the first pair, or before the first pair that an earlier attempt did not process."""
        self._pairs = pairs
        self._start = start
        self._read: list[int] = []  # the number of pairs up to the end of each image, from the start
        self._waiting: list[Pair] = []

    def next(self, executor: "ScoreExecutor") -> Generator[BatchRequest, Any, list[Pair]]:
        """Returns the next full batch, or an empty list at the end; the executor computes the class scores."""
        context = self._pairs.context
        entries, size = context.images.entries[self._start.images :], self._pairs.at_once or context.batch
        while len(self._waiting) < size and len(self._read) < len(entries):
            batch_entries = entries[len(self._read) : len(self._read) + size]
            images = [image for entry in batch_entries if (image := self._pairs.decode(entry)) is not None]
            pairs: list[Pair] = []
            if images:
                views = [open_view(image.levels, context.release.preprocessing).levels for image in images]
                pairs += self._pairs.pair(images, (yield BatchRequest(executor, views)))
            self._add(batch_entries, pairs)
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        return batch

    def find_position(self, processed: int) -> Position:
        """How far the shard is when this many pairs of this reader are processed."""
        images = bisect_right(self._read, processed)
        before = self._read[images - 1] if images else 0
        skipped = 0 if images else self._start.pairs
        return Position(self._start.images + images, processed - before + skipped)

    def _add(self, entries: Sequence[InputImage], pairs: list[Pair]) -> None:
        if not self._read:
            skipped = [pair for pair in pairs if pair.name == entries[0].name][: self._start.pairs]
            pairs = pairs[len(skipped) :]
        counts = Counter(pair.name for pair in pairs)
        last = self._read[-1] if self._read else 0
        self._read += accumulate((counts[entry.name] for entry in entries[1:]), initial=last + counts[entries[0].name])
        self._waiting += pairs


@dataclass(frozen=True)
class ScoreExecutor:
    """Computes the class scores of the images of several jobs in one batch."""

    classifier: Classifier

    def compute(self, payloads: Sequence[Sequence[Levels]], /) -> list[Tensor]:
        """Returns the class scores (N, K), on the CPU, of the N views (h, w, C) of each job."""
        rows = score_views(self.classifier, [view for views in payloads for view in views])
        return list(rows.split([len(views) for views in payloads]))
