"""Pictures with their targets, in full batches, however many there are: only a batch of them is held at a time."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from shared.errors import FieldError, InvalidRequest, Problem, Unavailable
from shared.jobs import TargetClass
from shared.parameters.subjects import Picture, Top
from shared.picture_checks import check_pairs
from worker.engine.classifier import Classifier
from worker.engine.render import flatten_channels
from worker.judgement import describe_verdict, score_views
from worker.pool import Want, work_alone
from worker.preprocess import Levels
from worker.sources import Entry
from worker.task import Task
from worker.view import Opening, View, open_view

PREVIEW = 640
"""Longest side in pixels of the picture that results are drawn on."""


@dataclass(frozen=True)
class Pair:
    """A picture and a class to look for in it.

    Attributes:
        name: What the picture is called where it comes from.
        picture: What is known of it.
        view: What the network is shown.
        preview: The whole picture in RGB, its longest side no more than `PREVIEW`: (H, W, 3).
        target: Class index.
        verdict: What the network says of the picture and the target.
    """

    name: str
    picture: Picture
    view: View
    preview: Levels
    target: int
    verdict: dict[str, Any]

    def describe(self, target: TargetClass | None = None) -> dict[str, Any]:
        """Picture, target and verdict, for the job's metrics; without a target, what the network predicts."""
        named = {"image": self.picture.id} | ({} if self.name == self.picture.id else {"name": self.name})
        if target is None:
            return named | {"predicted": self.verdict["predicted"]}
        return named | {"target": target.model_dump(), **self.verdict}


class Opened(NamedTuple):
    """A picture that was read: (H, W, C)."""

    entry: Entry
    picture: Picture
    levels: Levels


@dataclass(frozen=True)
class Pairs:
    """All pairs of a task.

    Attributes:
        opening: How pictures become views.
        failed: What is wrong with pictures that could not be read, by name; grows while pairs are read.
        first: The name that each picture was first read by, by its id.
        at_once: Pictures that are held at a time; without it, a full batch.
        repeated: By name, the name of the same picture that came before it; it is looked at once.
    """

    task: Task[Any]
    opening: Opening
    failed: dict[str, Problem] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    at_once: int | None = None

    def count(self) -> int:
        """How many there are, if every picture can be read.

        Raises:
            InvalidRequest: More than one job may look at; of a place in the store that is known only here.
        """
        count = sum(self._count_targets(entry.picture) for entry in self.task.entries)
        check_pairs(self.task.request, count)
        return count

    def read(self) -> Iterator[list[Pair]]:
        """Full batches of the size that is fastest here; a picture that cannot be read is left out and listed."""
        reading, pool = Reading(self), ScorePool(self.task.classifier)
        while batch := work_alone(reading.next(pool)):
            yield batch

    def pair(self, opened: Sequence[Opened], rows: Tensor) -> Iterator[Pair]:
        """The pairs of pictures that were opened, with what the network says of them: scores (N, K)."""
        release = self.task.release
        for (entry, picture, loaded), scores in zip(opened, rows, strict=True):
            view, preview = self.opening(loaded), shrink(loaded)
            ranked = scores.argsort(descending=True).tolist()
            for target in self._targets(picture) or ranked[: self._count_targets(picture)]:
                yield Pair(entry.name, picture, view, preview, target, describe_verdict(release, scores, target))

    def open(self, entry: Entry) -> Opened | None:
        """A picture, read; None where it cannot be, or was before."""
        try:
            data = entry.read()
            picture = entry.identify(data)
            if self.first.setdefault(picture.id, entry.name) != entry.name:
                self.repeated[entry.name] = self.first[picture.id]
                return None
            decoded = self.task.decode(data)
            self._check(decoded)
            return Opened(entry, picture, decoded)
        except Unavailable:
            raise
        except Problem as problem:
            self.failed[entry.name] = problem
            return None

    def _check(self, picture: Levels) -> None:
        """Raises `InvalidRequest` where the method cannot look at a picture of this size."""
        fault = self.task.request.params.find_fault(picture.shape[1], picture.shape[0])
        if fault is not None:
            name, detail = fault
            raise InvalidRequest(detail, FieldError(field=f"/params/{name}", detail=detail))

    def _targets(self, picture: Picture | None) -> list[int] | None:
        """Those that the request names; None where the model says which."""
        named = picture.targets if picture else None
        return self.task.release.resolve_targets(named) if named else self.task.targets

    def _count_targets(self, picture: Picture | None) -> int:
        named, wanted = self._targets(picture), self.task.request.classes
        if named is not None:
            return len(named)
        return min(wanted.top, len(self.task.release.classes)) if isinstance(wanted, Top) else 1


class Reading:
    """Goes through all pairs once, a batch at a time."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._place = 0
        self._waiting: list[Pair] = []

    def next(self, pool: "ScorePool") -> Generator[Want, Any, list[Pair]]:
        """The next full batch, empty when there are no more; the network's first look is wanted of `pool`."""
        task = self._pairs.task
        size = self._pairs.at_once or task.batch
        while len(self._waiting) < size and self._place < len(task.entries):
            entries = task.entries[self._place : self._place + size]
            self._place += size
            opened = [found for entry in entries if (found := self._pairs.open(entry)) is not None]
            if opened:
                views = [open_view(one.levels, task.release.preprocessing).levels for one in opened]
                self._waiting += self._pairs.pair(opened, (yield Want(pool, views)))
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        return batch


@dataclass(frozen=True)
class ScorePool:
    """What the network says of the pictures of several jobs, in one batch."""

    classifier: Classifier

    def compute(self, wants: Sequence[Sequence[Levels]]) -> list[Tensor]:
        """Scores (N, K), on the CPU, of each job's views (h, w, C)."""
        rows = score_views(self.classifier, [view for views in wants for view in views])
        return list(rows.split([len(views) for views in wants]))


def shrink(picture: Levels) -> Levels:
    """The picture (H, W, C) as it can be looked at (H, W, 3), no larger than a preview."""
    scale = PREVIEW / max(picture.shape[:2])
    if scale >= 1:
        return flatten_channels(picture)
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return flatten_channels(small.reshape(*small.shape[:2], -1))
