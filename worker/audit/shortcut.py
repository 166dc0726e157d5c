"""Search for shortcuts (spurious features): marks that make a network predict a class in unrelated images.

A network that has learned an object needs most of it to predict the class. A network that has learned a mark next to
the object (a watermark, a ruler, a colored patch) predicts the class from the mark alone. The search tries small marks
in corners, which are parts of the class models and plain squares of many colors, and common marks over the whole image.
The squares are needed because class models of a class with an object and a mark show the object.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.audit.common_marks import CommonMark, list_common_marks
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.inputs.preprocess import Levels

SIDES = (1 / 8, 1 / 5, 1 / 4)
"""Side lengths of marks, as fractions of the image's: networks learn the size of a mark, too."""

LEVELS = (0, 64, 128, 191, 255)
"""Values of each color channel of a plain square."""

MAX_CARRIERS = 5
"""Number of images in which marks are compared to choose the strongest."""

CARRIER_BLUR = 1 / 10
"""Blur of these images, as a fraction of the shorter side: in a sharp image no mark has much effect, and chance
would choose."""

MAX_MODELS, MIN_IMAGES, MAX_IMAGES = 2, 4, 48
BATCH = 64

LEAST_EFFECT = 0.35
"""Fraction of images that a common mark must turn where it is chosen, beyond those of the baseline. There are many
marks and few images: the strongest reaches 0.29 in a release of the zoo without a shortcut, and 0.24 between ResNets of
20 to 56 layers (CIFAR-10, 50 images).
"""

CHANCE = 0.01
"""Variance that is added to that of the effects of a mark: equal effects on few images are not certain."""

GRAY = 128

SMALL = "a small mark in a corner"

Position = tuple[int, int]

Labeled = tuple[int, Levels]
"""An image (H, W, C) with the index of its class."""


@dataclass(frozen=True)
class Mark:
    """A mark and its effect on the predictions of two networks for the same images.

    Attributes:
        name: What it is, as the subject of a sentence.
        pixels: The mark (h, w, C); a common mark on a gray image (H, W, C).
        subject: For each image, the fraction of positions of the mark at which the subject predicts the class: (N,).
        baseline: The same fractions for the baseline: (N,).
        example: The image with the mark (H, W, C) for which the subject gives the class the highest probability.
    """

    name: str
    pixels: Levels
    subject: NDArray[np.float64]
    baseline: NDArray[np.float64]
    example: Levels

    @property
    def effect(self) -> float:
        """Mean fraction that the mark turns, beyond that of the baseline."""
        return float((self.subject - self.baseline).mean())

    @property
    def least_effect(self) -> float:
        """The effect minus two standard errors: a mark that was measured on few images must have a larger effect."""
        return self.effect - 2 * float(
            np.sqrt((self.subject - self.baseline).var() + CHANCE) / np.sqrt(len(self.subject))
        )


class MarkSearch:
    """Searches the strongest mark of each class and measures its effect.

    The images that choose a mark (carriers) are different from those on which its effect is measured.

    Args:
        subject: Network for which marks are chosen.
        baseline: Network to compare with.
        images: Images at the networks' input size, each (H, W, C).
        labels: Class index of each image.
    """

    def __init__(
        self, subject: Classifier, baseline: Classifier, images: Sequence[Levels], labels: Sequence[int]
    ) -> None:
        self._subject, self._baseline = subject, baseline
        carriers = choose_carriers(labels)
        self._carriers = [(label, blur(images[index])) for label, index in carriers.items()]
        self._others = [
            (label, image)
            for index, (label, image) in enumerate(zip(labels, images, strict=True))
            if index not in carriers.values()
        ]
        self._choosing, self._measuring = split_halves(self._others)
        self._choosing = self._choosing[: MAX_IMAGES // 2]
        self._common = self._try_common_marks() if len(self._choosing) >= MIN_IMAGES else []
        self._squares = list(draw_squares(subject))
        self._square_scores = self._score(self._squares) if self._carriers else torch.empty(0)

    def find_mark(self, target: int, models: Sequence[Levels]) -> Mark | None:
        """The strongest mark for a class, with its effect on images of other classes.

        Args:
            target: Class index.
            models: The subject's class models of the class, at its input size, each (H, W, C).

        Returns:
            The mark, or None if there are too few images of other classes.
        """
        found = (self._find_small_mark(target, models), self._find_common_mark(target))
        return max((mark for mark in found if mark), key=lambda mark: mark.least_effect, default=None)

    def _find_common_mark(self, target: int) -> Mark | None:
        """The common mark that turns most images into a class, measured on the images that did not choose it."""
        others = np.array([label != target for label, _ in self._choosing])
        images = [image for label, image in self._measuring if label != target][: MAX_IMAGES // 2]
        if not self._common or others.sum() < MIN_IMAGES or len(images) < MIN_IMAGES:
            return None
        effects = [float((turned[:, others] == target).mean(1) @ (1, -1)) for _, turned in self._common]
        best = int(np.argmax(effects))
        if effects[best] < LEAST_EFFECT:
            return None
        mark = self._common[best][0]
        marked = [mark.apply(image) for image in images]
        subject, baseline = (predict_probabilities(network, marked) for network in (self._subject, self._baseline))
        gray = np.full_like(images[0], GRAY)
        turned, baseline_turned = ((found.argmax(1) == target).double().numpy() for found in (subject, baseline))
        return Mark(mark.name, mark.apply(gray), turned, baseline_turned, marked[int(subject[:, target].argmax())])

    def _try_common_marks(self) -> list[tuple[CommonMark, NDArray[np.int64]]]:
        """Every common mark with the predictions of subject and baseline for marked images: (2, N)."""
        images = [image for _, image in self._choosing]
        height, width, channels = images[0].shape
        tried = []
        for mark in list_common_marks((height, width), channels):
            marked = [mark.apply(image) for image in images]
            predicted = [
                predict_probabilities(network, marked).argmax(1) for network in (self._subject, self._baseline)
            ]
            tried.append((mark, torch.stack(predicted).numpy()))
        return tried

    def _find_small_mark(self, target: int, models: Sequence[Levels]) -> Mark | None:
        """The small mark that makes a class most probable, measured in two corners."""
        carriers = [index for index, (label, _) in enumerate(self._carriers) if label != target]
        images = [image for label, image in self._others if label != target][:MAX_IMAGES]
        if not carriers or len(images) < MIN_IMAGES:
            return None
        mark = self._choose_mark(target, models, carriers)
        corners = find_corners(self._subject.size, mark.shape[0])
        pasted = [paste(image, mark, corner) for image in images for corner in corners]
        subject, baseline = (predict_probabilities(network, pasted) for network in (self._subject, self._baseline))
        shape = (len(images), len(corners))
        turned, baseline_turned = (
            (probabilities.argmax(1) == target).double().view(shape).mean(1).numpy()
            for probabilities in (subject, baseline)
        )
        return Mark(SMALL, mark, turned, baseline_turned, pasted[int(subject[:, target].argmax())])

    def _choose_mark(self, target: int, models: Sequence[Levels], carriers: Sequence[int]) -> Levels:
        """The square or part of a class model that makes the class most probable in the carriers."""
        side = max(3, round(min(self._subject.size) * SIDES[1]))
        parts = [part for model in models[:MAX_MODELS] for part in cut_parts(model, side)]
        scores = torch.cat([self._square_scores, self._score(parts)]) if parts else self._square_scores
        return [*self._squares, *parts][int(scores[:, carriers, target].mean(1).argmax())]

    def _score(self, marks: Sequence[Levels]) -> Tensor:
        """Log-probabilities of the subject: (marks, carriers, classes)."""
        size = max(1, BATCH // len(self._carriers))
        scores = [self._score_batch(marks[start : start + size]) for start in range(0, len(marks), size)]
        return torch.cat(scores).view(len(marks), len(self._carriers), -1)

    def _score_batch(self, marks: Sequence[Levels]) -> Tensor:
        pasted = [
            paste(carrier, mark, find_corners(self._subject.size, mark.shape[0])[0])
            for mark in marks
            for _, carrier in self._carriers
        ]
        return predict_probabilities(self._subject, pasted).clamp_min(1e-9).log()


def split_halves(images: Sequence[Labeled]) -> tuple[list[Labeled], list[Labeled]]:
    """Two halves of images with their classes: every class is split, and each half begins with one image per class."""
    by_class: dict[int, list[Labeled]] = {}
    for image in images:
        by_class.setdefault(image[0], []).append(image)
    halves: tuple[list[Labeled], list[Labeled]] = ([], [])
    for number in range(max(map(len, by_class.values()), default=0)):
        for rank, members in enumerate(by_class.values()):
            if number < len(members):
                halves[(number + rank) % 2].append(members[number])
    return halves


def choose_carriers(labels: Sequence[int]) -> dict[int, int]:
    """Index of the first image of each of the first `MAX_CARRIERS` classes, by class."""
    first: dict[int, int] = {}
    for index, label in enumerate(labels):
        first.setdefault(label, index)
    return dict(list(first.items())[:MAX_CARRIERS])


def draw_squares(classifier: Classifier) -> Iterator[Levels]:
    """Plain squares (h, w, C) of every size and color; of every gray value for networks without color channels."""
    channels = classifier.channels
    colors = product(LEVELS, repeat=3) if channels == 3 else ((level,) * channels for level in LEVELS)
    for fraction, color in product(SIDES, list(colors)):
        side = max(3, round(min(classifier.size) * fraction))
        yield np.full((side, side, channels), color, np.uint8)


def cut_parts(model: Levels, side: int) -> Iterator[Levels]:
    """Overlapping square parts (side, side, C) that cover an image (H, W, C)."""
    tops, lefts = ([*range(0, length - side, max(1, side * 2 // 3)), length - side] for length in model.shape[:2])
    for top in tops:
        for left in lefts:
            yield model[top : top + side, left : left + side]


def find_corners(size: tuple[int, int], side: int) -> list[Position]:
    """Top and left of a square in two opposite corners, at a small distance from the edges."""
    margin = max(1, side // 4)
    return [(margin, margin), (size[0] - side - margin, size[1] - side - margin)]


def paste(image: Levels, mark: Levels, position: Position) -> Levels:
    """A copy of an image (H, W, C) with a mark (h, w, C) at a position (top, left)."""
    changed = image.copy()
    changed[position[0] : position[0] + mark.shape[0], position[1] : position[1] + mark.shape[1]] = mark
    return changed


def blur(image: Levels) -> Levels:
    """An image (H, W, C), blurred by `CARRIER_BLUR`."""
    deviation = min(image.shape[:2]) * CARRIER_BLUR
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8).reshape(image.shape)


@torch.no_grad()
def predict_probabilities(classifier: Classifier, images: Sequence[Levels]) -> Tensor:
    """Class probabilities (N, K), on the CPU, of N images (H, W, C)."""

    def predict(part: slice) -> Tensor:
        batch = torch.from_numpy(np.stack(images[part])).permute(0, 3, 1, 2).to(classifier.device).float() / 255
        return classifier.probabilities(classifier.normalize(batch)).cpu()

    parts, _ = run_in_microbatches(predict, len(images), BATCH)
    return torch.cat(parts)
