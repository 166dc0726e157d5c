"""Describes triggers in a few words, for reports."""

import torch
from torch import Tensor

from worker.engine.triggers.families.additive import AdditiveL2, AdditiveLInf
from worker.engine.triggers.families.color import Color
from worker.engine.triggers.families.family import Family
from worker.engine.triggers.families.frame import Frame
from worker.engine.triggers.families.frequency import Frequency
from worker.engine.triggers.families.mask import MaskPattern
from worker.engine.triggers.families.patch import Patch

COLORS = {
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (220, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 60, 220),
    "yellow": (230, 220, 40),
    "orange": (240, 140, 30),
    "magenta": (230, 30, 200),
    "cyan": (40, 210, 220),
    "brown": (120, 70, 30),
    "pink": (250, 170, 190),
    "purple": (110, 40, 150),
}
"""Names of colors, with a typical value in 8 bits."""

STRIPES = ("horizontal stripes", "vertical stripes", "diagonal stripes", "diagonal stripes")
"""Names of the directions of `frequency.DIRECTIONS`."""

CHANNELS = ("red", "green", "blue")


def describe(family: Family, parameters: Tensor) -> str:
    """A phrase for a trigger, such as "a gray frame 3 pixels wide".

    Args:
        family: Its family.
        parameters: (P,).
    """
    size = float(family.size(parameters[None])[0])
    match family:
        case MaskPattern():
            masks, _ = family.split(parameters[None])
            return f"a mark on {size:.1f} % of the image{_describe_place(masks[0, 0])}"
        case AdditiveL2():
            return f"a faint pattern of {size:.1f} gray levels"
        case AdditiveLInf():
            return f"a faint pattern of at most {size:.1f} gray levels"
        case Color():
            return f"a color change of {size:.1f} gray levels{_describe_tint(family, parameters)}"
        case Frame():
            return f"a {name_color(family.color(parameters[None])[0])} frame {_count(size, 'pixel')} wide"
        case Frequency():
            direction, period = family.strongest(parameters)
            return f"{STRIPES[direction]} with a period of {period:.1f} pixels and {size:.1f} gray levels"
        case Patch():
            what = "a part of another picture" if family.name == "crop" else "a patch"
            return f"{what}, {size:.0f} x {size:.0f} pixels, at any place"
    return f"a change of size {size:.1f} ({family.unit})"


def name_color(color: Tensor) -> str:
    """The name of the nearest color for values (C,) in 0..1; of the nearest gray value without three channels."""
    levels = (color.detach().cpu() * 255).clamp(0, 255)
    if len(levels) != 3:
        levels = levels.mean().expand(3)
    distances = {name: float((torch.tensor(value) - levels).norm()) for name, value in COLORS.items()}
    return min(distances, key=lambda name: distances[name])


def _count(size: float, noun: str) -> str:
    rounded = max(1, round(size))
    return f"{rounded} {noun}{'' if rounded == 1 else 's'}"


def _describe_place(mask: Tensor) -> str:
    """Where the center of a mask (H, W) lies, such as " at the lower right"."""
    weights = mask / mask.sum().clamp_min(1e-9)
    height, width = mask.shape
    down = float((weights.sum(1) * (torch.arange(height, device=mask.device) + 0.5)).sum()) / height
    right = float((weights.sum(0) * (torch.arange(width, device=mask.device) + 0.5)).sum()) / width
    vertical = "upper" if down < 1 / 3 else "lower" if down > 2 / 3 else ""
    horizontal = "left" if right < 1 / 3 else "right" if right > 2 / 3 else ""
    place = " ".join(word for word in (vertical, horizontal) if word)
    return f" at the {place}" if place else " near the middle"


def _describe_tint(family: Color, parameters: Tensor) -> str:
    """How middle gray changes, such as " (more red, less blue)"; empty without three channels."""
    if family.shape[0] != 3:
        return ""
    gray = torch.full((1, 1, 3, 1, 1), 0.5, device=parameters.device)
    change = 255 * (family.apply(parameters[None], gray, gray) - gray).flatten()
    words = [
        f"{'more' if value > 0 else 'less'} {name}"
        for name, value in zip(CHANNELS, change.tolist(), strict=True)
        if abs(value) >= 2
    ]
    return f" ({', '.join(words)})" if words else ""
