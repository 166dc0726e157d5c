"""Localization errors: predicted boxes compared with true boxes, beside two baselines that ignore the image."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archetype.contract.parameters.inputs import ImageInput
from shared.catalogue.release import Release
from worker.engine.attribution.bootstrap import mean_with_interval
from worker.engine.attribution.boxes import Box

MIN_OVERLAP = 0.5
"""Intersection over union from which an object counts as found (ILSVRC, Russakovsky et al. 2014, arXiv 1409.0575)."""

CENTERED_SIDE = 0.5**0.5
"""Sides of the centered box relative to those of the image: half of its area."""


def describe_errors(
    release: Release,
    images: Sequence[ImageInput],
    detections: Mapping[str, Sequence[tuple[int, Box | None]]],
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    """Errors and mean overlap on the images that have true boxes, each with its interval; empty if there are none.

    Args:
        release: The release whose classes the true boxes name.
        images: The images of the request.
        detections: The classes and their boxes by image, the most probable class first.
        sizes: Height and width by image.
    """
    known = [image for image in images if image.boxes and detections.get(image.id)]
    if not known:
        return {}

    def overlaps(image: ImageInput) -> list[float]:
        return [best_overlap(release, image, box, target) for target, box in detections[image.id]]

    def overlap_of(side: float) -> Callable[[ImageInput], list[float]]:
        return lambda image: [best_overlap(release, image, center_box(sizes[image.id], side))]

    baselines = {"whole_picture": overlap_of(1.0), "centred_box": overlap_of(CENTERED_SIDE)}
    return {
        "localization": {
            "pictures": len(known),
            **_summarize([overlaps(image) for image in known]),
            "baselines": {
                name: _summarize([baseline(image) for image in known]) for name, baseline in baselines.items()
            },
        }
    }


def best_overlap(release: Release, image: ImageInput, box: Box | None, target: int | None = None) -> float:
    """The largest overlap of a box with a true box, 0 to 1.

    Args:
        release: The release whose classes the true boxes name.
        image: The image with its true boxes.
        box: The box; None has no overlap.
        target: Class index; only true boxes of this class, or of no class, count. None: all true boxes count.
    """
    if box is None:
        return 0.0
    true_boxes = [
        Box(true.left, true.top, true.right, true.bottom)
        for true in image.boxes
        if true.target is None or target is None or release.resolve_targets([true.target]) == [target]
    ]
    return max((box.overlap(true) for true in true_boxes), default=0.0)


def center_box(size: tuple[int, int], side: float) -> Box:
    """A box in the middle of an image of this height and width; `side` is relative to the sides of the image."""
    height, width = size
    right, bottom = width * (1 + side) / 2, height * (1 + side) / 2
    return Box(width - right, height - bottom, right, bottom)


def _summarize(overlaps: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Errors from the overlaps of each image, those of its most probable class first."""
    return {
        "top1_error": mean_with_interval([float(of_image[0] < MIN_OVERLAP) for of_image in overlaps]),
        "top5_error": mean_with_interval([float(max(of_image[:5]) < MIN_OVERLAP) for of_image in overlaps]),
        "mean_overlap": mean_with_interval([of_image[0] for of_image in overlaps]),
    }
