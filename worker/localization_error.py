"""How often objects are found: held against true boxes, and against two guesses that look at nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.catalogue import Release
from shared.parameters.subjects import Picture
from worker.engine.bootstrap import mean_with_interval
from worker.engine.localization import Box

ENOUGH = 0.5
"""Intersection over union at which an object counts as found (ILSVRC, Russakovsky et al. 2014, arXiv 1409.0575)."""

CENTRE = 0.5**0.5
"""Sides of the centred box, relative to the picture's: half of its area."""


def describe_errors(
    release: Release,
    pictures: Sequence[Picture],
    found: Mapping[str, Sequence[tuple[int, Box | None]]],
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    """Errors and mean overlap of the pictures that came with true boxes, each with its interval; empty without any.

    Args:
        found: By picture, the classes that were looked for, the likeliest first, and their boxes.
        sizes: By picture, its height and width.
    """
    known = [picture for picture in pictures if picture.boxes and found.get(picture.id)]
    if not known:
        return {}

    def overlaps(picture: Picture) -> list[float]:
        return [best_overlap(release, picture, box, target) for target, box in found[picture.id]]

    def guess(side: float) -> Callable[[Picture], list[float]]:
        return lambda picture: [best_overlap(release, picture, centred(sizes[picture.id], side))]

    guesses = {"whole_picture": guess(1.0), "centred_box": guess(CENTRE)}
    return {
        "localization": {
            "pictures": len(known),
            **_sum_up([overlaps(picture) for picture in known]),
            "baselines": {name: _sum_up([one(picture) for picture in known]) for name, one in guesses.items()},
        }
    }


def best_overlap(release: Release, picture: Picture, box: Box | None, target: int | None = None) -> float:
    """The largest overlap with a true box of the target, or of no stated class, 0 to 1."""
    if box is None:
        return 0.0
    mine = [
        Box(true.left, true.top, true.right, true.bottom)
        for true in picture.boxes
        if true.target is None or target is None or release.resolve_targets([true.target]) == [target]
    ]
    return max((box.overlap(true) for true in mine), default=0.0)


def centred(size: tuple[int, int], side: float) -> Box:
    """A box in the middle of a picture, its sides so much of the picture's."""
    height, width = size
    right, bottom = width * (1 + side) / 2, height * (1 + side) / 2
    return Box(width - right, height - bottom, right, bottom)


def _sum_up(overlaps: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of each picture's overlaps, the likeliest class first."""
    return {
        "top1_error": mean_with_interval([float(each[0] < ENOUGH) for each in overlaps]),
        "top5_error": mean_with_interval([float(max(each[:5]) < ENOUGH) for each in overlaps]),
        "mean_overlap": mean_with_interval([each[0] for each in overlaps]),
    }
