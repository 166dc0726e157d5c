"""Crops of other pictures as triggers: copy and paste attacks (Casper et al. 2022, "SNAFUE", arXiv 2211.10024).

A network that has learned a second natural object for a class predicts the class where that object is pasted in. There
is no gradient: crops of the carriers are pasted into other carriers, and the best crop of each class is kept. Its size
is then found like that of a patch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import unsquash
from worker.engine.triggers.families.patch import MAX_SIDE, START_SIDE, Patch
from worker.engine.triggers.measure import AT_ONCE, draw_places

CROP_TEXELS = 32
"""Side of a crop in its own pixels."""

CROP_SIDE = 0.5
"""Side of a crop as a fraction of the picture's shorter side."""

PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))
"""Where crops are cut out: the corners and the middle, as fractions of the room that is left."""

MAX_CROPS, BACKGROUNDS = 240, 3
"""Largest number of crops, and of pictures into which each is pasted to choose the best."""


@dataclass(frozen=True)
class Crop(Patch):
    """A patch that is a part of a picture; see `find_crops`."""

    name: str = "crop"
    texels: int = CROP_TEXELS


def cut_crops(carriers: Carriers) -> Carriers:
    """Cuts square crops (M, C, CROP_TEXELS, CROP_TEXELS) out of carriers, with the classes of their pictures."""
    height, width = carriers.images.shape[2:]
    side = max(1, round(CROP_SIDE * min(height, width)))
    cut, labels = list[Tensor](), list[Tensor]()
    for down, right in PLACES:
        top, left = round(down * (height - side)), round(right * (width - side))
        cut.append(carriers.images[:, :, top : top + side, left : left + side])
        labels.append(carriers.labels)
    crops = torch.nn.functional.interpolate(
        torch.cat(cut), (CROP_TEXELS, CROP_TEXELS), mode="bilinear", align_corners=False, antialias=True
    )
    every = -(-len(crops) // MAX_CROPS)
    return Carriers(crops[::every], torch.cat(labels)[::every])


@torch.no_grad()
def find_crops(classifier: Classifier, family: Crop, targets: Sequence[int], carriers: Carriers) -> Iterator[Tensor]:
    """Finds for each target the crop of another class that makes it most probable.

    Args:
        classifier: The network.
        family: The family, with the shape of the images.
        targets: Class indices.
        carriers: Images of several classes.

    Yields:
        Parameters (P,) of each target in turn; it works between two of them, so the caller can stop.
    """
    crops = cut_crops(carriers)
    backgrounds = choose_backgrounds(carriers)
    side = unsquash(torch.full((len(crops), 1), START_SIDE / MAX_SIDE, device=crops.images.device))
    parameters = torch.cat([side, unsquash(crops.images).flatten(1)], dim=1)  # (M, P)
    places = draw_places(len(backgrounds)).to(crops.images.device)

    def score(rows: slice) -> Tensor:
        part = parameters[rows]
        images = backgrounds.images.expand(len(part), -1, -1, -1, -1)
        pasted = family.apply(part, images, places.expand(len(part), -1, -1)).flatten(0, 1)
        outputs = classifier.forward(classifier.normalize(pasted))
        return outputs.log_probabilities().view(len(part), len(backgrounds), -1)

    parts, _ = run_in_microbatches(score, len(crops), max(1, AT_ONCE // len(backgrounds)))
    scores = torch.cat(parts)  # (M, B, classes)
    for target in targets:
        usable = backgrounds.labels != target
        values = scores[:, usable, target].mean(1) if bool(usable.any()) else scores[:, :, target].mean(1)
        values = torch.where(crops.labels == target, -torch.inf, values)
        yield parameters[int(values.nan_to_num(nan=-torch.inf).argmax())]


def choose_backgrounds(carriers: Carriers, count: int = BACKGROUNDS) -> Carriers:
    """One picture of each of the first classes."""
    first: dict[int, int] = {}
    for row, label in enumerate(carriers.labels.tolist()):
        first.setdefault(label, row)
    return carriers.take(list(first.values())[:count])
