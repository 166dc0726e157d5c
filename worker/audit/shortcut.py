"""Whether a small part of a class model makes pictures of other classes into the class: what a shortcut does.

A network that has learned a thing wants most of it to be there. One that has learned a mark beside the thing (a
watermark, a ruler, a coloured patch) is content with the mark, and its class model shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts
from worker.engine.render import Pixels

PART = 1 / 6
"""Side of the part that is cut out, as a share of the picture's."""

CARRIERS = 3
"""Pictures that choose the part; it is tried on the others."""

MOST_MODELS, MOST_TRIED = 2, 48
AT_ONCE = 64

Levels = NDArray[np.uint8]
Place = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A part of a class model.

    Attributes:
        pixels: (h, w, C).
        successes: For each picture that it was tried on, whether the network took it for the class, 0 or 1, in the mean
            over its places.
        example: The last of those pictures with the part in it (H, W, C).
    """

    pixels: Levels
    successes: NDArray[np.float64]
    example: Levels


def try_part(classifier: Classifier, models: Sequence[Pixels], target: int, pictures: Sequence[Levels]) -> Part | None:
    """The part of a class's models that turns most pictures of other classes, and how many it turns; None for too few.

    Args:
        models: Class models of the class, at the network's size (H, W, C).
        pictures: Pictures of other classes, at the network's size.
    """
    if not models or len(pictures) <= CARRIERS:
        return None
    side = max(3, round(min(classifier.size) * PART))
    parts = [part for model in models[:MOST_MODELS] for part in cut_parts(model, side)]
    carriers, tried = pictures[:CARRIERS], pictures[CARRIERS : CARRIERS + MOST_TRIED]
    corners = find_corners(classifier.size, side)
    pasted = [paste(carrier, part, corners[0]) for part in parts for carrier in carriers]
    chances = probabilities(classifier, pasted)[:, target].view(len(parts), len(carriers)).mean(1)
    best = parts[int(chances.argmax())]
    turned = [paste(picture, best, corner) for picture in tried for corner in corners]
    taken = (probabilities(classifier, turned).argmax(1) == target).double().view(len(tried), len(corners)).mean(1)
    return Part(best, taken.numpy(), turned[-1])


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


def paste(picture: Levels, part: Levels, place: Place) -> Levels:
    """A picture with a part of another in it."""
    changed = picture.copy()
    changed[place[0] : place[0] + part.shape[0], place[1] : place[1] + part.shape[1]] = part
    return changed


@torch.no_grad()
def probabilities(classifier: Classifier, pictures: Sequence[Levels]) -> Tensor:
    """What the network gives each class (N, K), of pictures (H, W, C)."""

    def look(part: slice) -> Tensor:
        batch = torch.from_numpy(np.stack(pictures[part])).permute(0, 3, 1, 2).to(classifier.device).float() / 255
        return classifier.scores(classifier.normalise(batch)).softmax(1).cpu()

    parts, _ = run_in_parts(look, len(pictures), AT_ONCE)
    return torch.cat(parts)
