"""Whether a small mark makes pictures of other classes into the class: what a shortcut does.

A network that has learned a thing wants most of it to be there. One that has learned a mark beside the thing (a
watermark, a ruler, a coloured patch) is content with the mark. Tried are parts of its class models, and plain squares
of every colour: where a class has both, its class models show the thing, and the mark is found by trying.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts
from worker.engine.render import Pixels

SIDES = (1 / 8, 1 / 5, 1 / 4)
"""Sides of marks, as a share of the picture's: learned marks are known by their size as well."""

LEVELS = (0, 64, 128, 191, 255)
"""Of each channel of a plain square."""

CARRIERS, CARRIER_BLUR = 5, 1 / 10
"""Pictures that choose the mark, and how much they are blurred, as a share of their side: in a picture that shows
something, no mark changes much, and chance would choose."""

MOST_MODELS, FEWEST_TRIED, MOST_TRIED = 2, 4, 48
AT_ONCE = 64

Levels = NDArray[np.uint8]
Place = tuple[int, int]


@dataclass(frozen=True)
class Mark:
    """A mark, and what it does to the same pictures for two networks.

    Attributes:
        pixels: (h, w, C).
        subject: For each picture that it was tried on, whether the subject took it for the class, 0 or 1, in the mean
            over its places.
        baseline: The same of the baseline.
        example: The picture with the mark in it (H, W, C) of which the subject was surest.
    """

    pixels: Levels
    subject: NDArray[np.float64]
    baseline: NDArray[np.float64]
    example: Levels


class Trials:
    """Tries marks on pictures, class by class.

    Args:
        pictures: At the networks' size (H, W, C).
        labels: What they show.
    """

    def __init__(
        self, subject: Classifier, baseline: Classifier, pictures: Sequence[Levels], labels: Sequence[int]
    ) -> None:
        self._subject, self._baseline = subject, baseline
        chosen = choose_carriers(labels)
        self._carriers = [(label, blur(pictures[place])) for label, place in chosen.items()]
        self._others = [
            (label, picture)
            for place, (label, picture) in enumerate(zip(labels, pictures, strict=True))
            if place not in chosen.values()
        ]
        self._plain = list(draw_squares(subject))
        self._said = self._score(self._plain) if self._carriers else torch.empty(0)

    def try_class(self, target: int, models: Sequence[Pixels]) -> Mark | None:
        """The mark that says most to the subject, tried on pictures of other classes; None where there are too few.

        Args:
            models: The subject's class models of the class, at its size (H, W, C).
        """
        free = [place for place, (label, _) in enumerate(self._carriers) if label != target]
        others = [picture for label, picture in self._others if label != target][:MOST_TRIED]
        if not free or len(others) < FEWEST_TRIED:
            return None
        mark = self._choose(target, models, free)
        corners = find_corners(self._subject.size, mark.shape[0])
        pasted = [paste(other, mark, corner) for other in others for corner in corners]
        ours, theirs = (probabilities(network, pasted) for network in (self._subject, self._baseline))
        shape = (len(others), len(corners))
        taken, kept = ((one.argmax(1) == target).double().view(shape).mean(1).numpy() for one in (ours, theirs))
        return Mark(mark, taken, kept, pasted[int(ours[:, target].argmax())])

    def _choose(self, target: int, models: Sequence[Pixels], free: Sequence[int]) -> Levels:
        """Of the plain squares and the parts of class models, what makes blurred pictures most probable."""
        side = max(3, round(min(self._subject.size) * SIDES[1]))
        parts = [part for model in models[:MOST_MODELS] for part in cut_parts(model, side)]
        said = torch.cat([self._said, self._score(parts)]) if parts else self._said
        return [*self._plain, *parts][int(said[:, free, target].mean(1).argmax())]

    def _score(self, marks: Sequence[Levels]) -> Tensor:
        """Logarithms of the probabilities that the subject gives (marks, carriers, classes)."""
        at_once = max(1, AT_ONCE // len(self._carriers))
        said = [self._score_some(marks[start : start + at_once]) for start in range(0, len(marks), at_once)]
        return torch.cat(said).view(len(marks), len(self._carriers), -1)

    def _score_some(self, marks: Sequence[Levels]) -> Tensor:
        pasted = [
            paste(carrier, mark, find_corners(self._subject.size, mark.shape[0])[0])
            for mark in marks
            for _, carrier in self._carriers
        ]
        return probabilities(self._subject, pasted).clamp_min(1e-9).log()


def choose_carriers(labels: Sequence[int]) -> dict[int, int]:
    """The place of the first picture of each of a few classes, by class."""
    first: dict[int, int] = {}
    for place, label in enumerate(labels):
        first.setdefault(label, place)
    return dict(list(first.items())[:CARRIERS])


def draw_squares(classifier: Classifier) -> Iterator[Levels]:
    """Plain squares (h, w, C) of every size and colour; where channels are no colours, of every grey."""
    channels = classifier.channels
    colours = product(LEVELS, repeat=3) if channels == 3 else ((level,) * channels for level in LEVELS)
    for share, colour in product(SIDES, list(colours)):
        side = max(3, round(min(classifier.size) * share))
        yield np.full((side, side, channels), colour, np.uint8)


def cut_parts(model: Levels, side: int) -> Iterator[Levels]:
    """Squares of a picture, a third over each other, up to its edges."""
    tops, lefts = ([*range(0, length - side, max(1, side * 2 // 3)), length - side] for length in model.shape[:2])
    for top in tops:
        for left in lefts:
            yield model[top : top + side, left : left + side]


def find_corners(size: tuple[int, int], side: int) -> list[Place]:
    """Top and left of a square in two opposite corners, a little way from the edge."""
    edge = max(1, side // 4)
    return [(edge, edge), (size[0] - side - edge, size[1] - side - edge)]


def paste(picture: Levels, mark: Levels, place: Place) -> Levels:
    """A picture with a mark in it."""
    changed = picture.copy()
    changed[place[0] : place[0] + mark.shape[0], place[1] : place[1] + mark.shape[1]] = mark
    return changed


def blur(picture: Levels) -> Levels:
    deviation = min(picture.shape[:2]) * CARRIER_BLUR
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.uint8).reshape(picture.shape)


@torch.no_grad()
def probabilities(classifier: Classifier, pictures: Sequence[Levels]) -> Tensor:
    """What the network gives each class (N, K), of pictures (H, W, C)."""

    def look(part: slice) -> Tensor:
        batch = torch.from_numpy(np.stack(pictures[part])).permute(0, 3, 1, 2).to(classifier.device).float() / 255
        return classifier.scores(classifier.normalise(batch)).softmax(1).cpu()

    parts, _ = run_in_parts(look, len(pictures), AT_ONCE)
    return torch.cat(parts)
