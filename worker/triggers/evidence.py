"""Evidence of a trigger: the trigger enlarged, pictures before and after, saliency maps, and one plain sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archetype.contract.parameters.saliency import SaliencyParameters
from worker.attribution.saliency_maps import choose_map
from worker.engine.attribution.gradient import gives_gradients
from worker.engine.heat_map import render_overlay
from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage, flatten_channels, render_contact_sheet
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.describe import describe
from worker.engine.triggers.families.family import DRAWS, Family
from worker.engine.triggers.families.frame import Frame
from worker.engine.triggers.families.mask import MaskPattern
from worker.engine.triggers.families.patch import Patch
from worker.engine.triggers.measure import Trigger, apply_one, draw_places
from worker.inputs.preprocess import Levels

EXAMPLES = 3
"""Pictures that are shown before and after."""

SIDE = 160
"""Side of a picture on the sheet in pixels."""

AMPLIFIED = 0.4
"""Largest deviation from middle gray of an additive trigger that is shown enlarged."""

MIDDLE = 0.5
DARK, LIGHT, SQUARES = 0.65, 0.95, 10
"""Gray of the squares of a chessboard, and their number along its longer side."""


@dataclass(frozen=True)
class Examples:
    """Held-out pictures with and without a trigger.

    Attributes:
        before: (K, C, H, W) in 0..1.
        after: (K, C, H, W) in 0..1.
        turned: Whether the network takes each changed picture for the target.
        maps: Absolute saliency maps of the target in the changed pictures (K, H, W).
    """

    before: Tensor
    after: Tensor
    turned: tuple[bool, ...]
    maps: Tensor


def write_sentence(family: Family, trigger: Trigger, target: str) -> str:
    """One sentence, such as "A gray frame 3 pixels wide turns 100 % of other pictures into goldfish (before: 0 %)"."""
    phrase = describe(family, trigger.parameters)
    counted = trigger.held_out if trigger.held_out.of else trigger.search
    return (
        (
            f"{phrase[:1].upper()}{phrase[1:]} {'turn' if phrase.split(' with ')[0].endswith('stripes') else 'turns'} "
            f"{counted.share:.0%} of other pictures into {target} (before: {trigger.before.share:.0%})"
        )
        .replace("%", " %")
        .replace("  %", " %")
    )


def choose_examples(
    classifier: Classifier, family: Family, trigger: Trigger, carriers: tuple[Carriers, Carriers]
) -> Examples:
    """Up to three held-out pictures of different classes, those that turn into the target first."""
    pool = carriers[1] if len(carriers[1].others(trigger.slot.target)) else carriers[0]
    pool = pool.take(pool.others(trigger.slot.target).tolist())
    device = classifier.device
    places = draw_places(len(pool)).to(device)
    after = apply_one(family, trigger.parameters.to(device), pool.images, places)
    turned = predict(classifier, after) == trigger.slot.target
    rows = _spread(turned.tolist(), pool.labels.tolist())
    index = torch.tensor(rows, dtype=torch.int64, device=device)
    maps = map_target(classifier, after[index], trigger.slot.target)
    return Examples(pool.images[index], after[index], tuple(bool(turned[row]) for row in rows), maps)


def map_target(classifier: Classifier, images: Tensor, target: int) -> Tensor:
    """Absolute saliency maps (K, H, W) of a class in images (K, C, H, W) in 0..1, by SmoothGrad or occlusion."""
    targets = torch.full((len(images),), target, device=images.device)
    square = max(1, min(classifier.size) // 8)
    occlusion = SaliencyParameters(kind="occlusion", square=square, stride=square)
    params = SaliencyParameters(kind="smoothgrad") if gives_gradients(classifier) else occlusion
    map_of = choose_map(classifier, params, SIDE)
    return map_of(classifier.normalize(images), targets).float().abs().cpu()


@torch.no_grad()
def predict(classifier: Classifier, images: Tensor) -> Tensor:
    """The predicted classes (N,) of images (N, C, H, W)."""
    parts = [classifier.scores(classifier.normalize(part)).argmax(1) for part in images.split(SIDE)]
    return torch.cat(parts)


def _spread(turned: Sequence[bool], labels: Sequence[int]) -> list[int]:
    """Rows of up to `EXAMPLES` pictures: first one of each class that turned, then others."""
    order = sorted(range(len(labels)), key=lambda row: not turned[row])
    first: dict[int, int] = {}
    for row in order:
        first.setdefault(labels[row], row)
    chosen = sorted(first.values(), key=lambda row: not turned[row])
    return [*chosen, *(row for row in order if row not in first.values())][:EXAMPLES]


def draw_trigger(family: Family, parameters: Tensor) -> RGBImage:
    """The trigger alone (H, W, 3), on middle gray; additive triggers are amplified, and a frame is on a chessboard."""
    match family:
        case MaskPattern():
            masks, patterns = family.split(parameters[None])
            weights = masks / masks.amax().clamp_min(1e-6)
            return to_pixels((MIDDLE + weights * (patterns - MIDDLE))[0])
        case Patch():
            return to_pixels(family.picture(parameters[None])[0])
        case Frame():
            return to_pixels(put_on(family, parameters, draw_chessboard(family.shape, parameters.device)))
    gray = torch.full(family_shape(family), MIDDLE, device=parameters.device)
    changed = put_on(family, parameters, gray)
    largest = float((changed - MIDDLE).abs().max())
    amplify = AMPLIFIED / largest if 0 < largest < AMPLIFIED / 2 else 1.0
    return to_pixels(MIDDLE + amplify * (changed - MIDDLE))


def put_on(family: Family, parameters: Tensor, image: Tensor) -> Tensor:
    """An image (C, H, W) in 0..1 with a trigger, in the middle if it can be at any place."""
    return family.apply(parameters[None], image[None, None], torch.full((1, 1, DRAWS), 0.5, device=image.device))[0, 0]


def draw_chessboard(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """An image (C, H, W) of light and dark squares, on which a frame of any color is seen."""
    channels, height, width = shape
    rows, columns = (torch.arange(side, device=device) * SQUARES // max(height, width) for side in (height, width))
    light = (rows[:, None] + columns[None, :]) % 2  # (H, W)
    return (DARK + (LIGHT - DARK) * light).expand(channels, height, width)


def family_shape(family: Family) -> tuple[int, int, int]:
    """Channels, height and width of the images of a family."""
    shape: tuple[int, int, int] = getattr(family, "shape")  # noqa: B009
    return shape


def draw_sheet(pictures: RGBImage, examples: Examples, target: str) -> RGBImage:
    """The trigger, then pictures before (first row) and after (second row), and what the class depends on (third)."""
    before = [(to_pixels(image), "before") for image in examples.before]
    after = [
        (to_pixels(image), f"after: {target}" if turned else "after: another class")
        for image, turned in zip(examples.after, examples.turned, strict=True)
    ]
    maps = [
        (render_overlay(to_pixels(image), values.numpy()), f"saliency map of {target}")
        for image, values in zip(examples.after, examples.maps, strict=True)
    ]
    blank = np.full_like(pictures, 255)
    rows = [[(pictures, "trigger"), *before], [(blank, ""), *after], [(blank, ""), *maps]]
    return render_contact_sheet(rows, side=SIDE)


def to_pixels(image: Tensor) -> RGBImage:
    """An image (C, H, W) in 0..1 as pixels (H, W, 3)."""
    levels: Levels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return flatten_channels(levels)
