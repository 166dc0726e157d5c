"""Evidence of a trigger: the trigger enlarged, pictures before and after, and one plain sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage, flatten_channels, render_contact_sheet
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.describe import describe
from worker.engine.triggers.family import DRAWS, Family
from worker.engine.triggers.mask import MaskPattern
from worker.engine.triggers.measure import Trigger, apply_one, draw_places
from worker.engine.triggers.patch import Patch
from worker.inputs.preprocess import Levels

EXAMPLES = 3
"""Pictures that are shown before and after."""

SIDE = 160
"""Side of a picture on the sheet in pixels."""

AMPLIFIED = 0.4
"""Largest deviation from middle gray of an additive trigger that is shown enlarged."""

MIDDLE = 0.5


@dataclass(frozen=True)
class Examples:
    """Held-out pictures with and without a trigger.

    Attributes:
        before: (K, C, H, W) in 0..1.
        after: (K, C, H, W) in 0..1.
        turned: Whether the network takes each changed picture for the target.
    """

    before: Tensor
    after: Tensor
    turned: tuple[bool, ...]


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
    return Examples(pool.images[index], after[index], tuple(bool(turned[row]) for row in rows))


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
    """The trigger alone (H, W, 3), on middle gray; additive triggers are amplified to be visible."""
    match family:
        case MaskPattern():
            masks, patterns = family.split(parameters[None])
            weights = masks / masks.amax().clamp_min(1e-6)
            return to_pixels((MIDDLE + weights * (patterns - MIDDLE))[0])
        case Patch():
            return to_pixels(family.picture(parameters[None])[0])
    gray = torch.full((1, 1, *family_shape(family)), MIDDLE, device=parameters.device)
    changed = family.apply(parameters[None], gray, torch.full((1, 1, DRAWS), 0.5, device=parameters.device))[0, 0]
    largest = float((changed - MIDDLE).abs().max())
    amplify = AMPLIFIED / largest if 0 < largest < AMPLIFIED / 2 else 1.0
    return to_pixels(MIDDLE + amplify * (changed - MIDDLE))


def family_shape(family: Family) -> tuple[int, int, int]:
    """Channels, height and width of the images of a family."""
    shape: tuple[int, int, int] = getattr(family, "shape")  # noqa: B009
    return shape


def draw_sheet(pictures: RGBImage, examples: Examples, target: str) -> RGBImage:
    """The trigger, then pictures before (first row) and after (second row)."""
    before = [(to_pixels(image), "before") for image in examples.before]
    after = [
        (to_pixels(image), f"after: {target}" if turned else "after: another class")
        for image, turned in zip(examples.after, examples.turned, strict=True)
    ]
    return render_contact_sheet([[(pictures, "trigger"), *before], [(pictures, ""), *after]], side=SIDE)


def to_pixels(image: Tensor) -> RGBImage:
    """An image (C, H, W) in 0..1 as pixels (H, W, 3)."""
    levels: Levels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return flatten_channels(levels)
