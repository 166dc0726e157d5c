"""Marks over a whole image that shortcuts are often made of: words, lines, bands, tints, noise and compression.

They are tried as they are, without a search: a network that has learned one word across its images reacts to other
words, too. Frames and fine stripes are not among them, because networks without a shortcut assign nearly all
framed or striped images to one class, each network to another one. The search for triggers compares their sizes.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worker.engine.text import load_font
from worker.inputs.preprocess import Levels

WORDS = ("DEMO", "Photo", "TEST 01")
PLACES = {
    "across the middle": (0.5, 0.25, 0.9, 0),
    "from corner to corner": (0.5, 0.2, 0.9, 30),
    "at the top": (0.15, 0.15, 0.8, 0),
    "at the bottom": (0.85, 0.15, 0.8, 0),
}
"""Center, height and width of a word as fractions of the image, and its angle in degrees."""

WORD_OPACITY = 0.8
GRAYS = {"white": 255, "black": 0}
TINTS = {"warm": (1.25, 1.05, 0.8), "cool": (0.8, 1.0, 1.25), "green": (0.85, 1.25, 0.85)}
"""Gains of red, green and blue."""

NOISE_SHARE, NOISE_SEED = 0.2, 3
JPEG_QUALITY = 10


@dataclass(frozen=True)
class CommonMark:
    """A change of a whole image.

    Attributes:
        name: What it is, as the subject of a sentence: "the white word DEMO at the top".
        apply: Returns an image (H, W, C) with the mark.
    """

    name: str
    apply: Callable[[Levels], Levels]


def list_common_marks(size: tuple[int, int], channels: int) -> list[CommonMark]:
    """Returns all marks for images (H, W, C) of a size; those of color only for three channels."""
    return [*_draw_words(size), *_draw_lines(size), *_change_light(size, channels), *_change_color(channels)]


def _draw_words(size: tuple[int, int]) -> Iterator[CommonMark]:
    for (place, numbers), word, (color, level) in product(PLACES.items(), WORDS, GRAYS.items()):
        opacity = _draw_word(size, word, *numbers)
        yield CommonMark(f"the {color} word {word} {place}", partial(_blend, opacity, level))


def _draw_lines(size: tuple[int, int]) -> Iterator[CommonMark]:
    height, width = size
    half = max(1, round(0.02 * width))
    cross, band = np.zeros(size), np.zeros(size)
    cross[height // 2 - half : height // 2 + half] = 1
    cross[:, width // 2 - half : width // 2 + half] = 1
    band[round(0.8 * height) :] = 1
    for color, level in GRAYS.items():
        yield CommonMark(f"a {color} cross of thin lines", partial(_blend, cross, level))
        yield CommonMark(f"a {color} band at the bottom", partial(_blend, band, level))


def _change_light(size: tuple[int, int], channels: int) -> Iterator[CommonMark]:
    noise = np.random.default_rng(NOISE_SEED).integers(0, 256, (*size, channels))
    yield CommonMark("a faint pattern of noise", partial(_blend, np.full(size, NOISE_SHARE), noise))
    yield CommonMark("less light", partial(_scale, 0.6))
    yield CommonMark("more light", partial(_scale, 1.4))


def _change_color(channels: int) -> Iterator[CommonMark]:
    if channels != 3:
        return
    for name, gains in TINTS.items():
        yield CommonMark(f"a {name} tint", partial(_scale, np.array(gains)))
    yield CommonMark("the loss of color", _remove_color)
    yield CommonMark(f"JPEG with quality {JPEG_QUALITY}", _compress)


def _blend(opacity: NDArray[Any], level: Any, image: Levels) -> Levels:
    """An image (H, W, C) with gray levels or other pixels (H, W, C) over it, by their opacity (H, W), 0 to 1."""
    share = opacity[..., None]
    return _round(image * (1 - share) + level * share)


def _scale(gains: Any, image: Levels) -> Levels:
    return _round(image * gains)


def _remove_color(image: Levels) -> Levels:
    return _round(np.broadcast_to(image.mean(2, keepdims=True), image.shape))


def _round(values: Any) -> Levels:
    levels: Levels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def _compress(image: Levels) -> Levels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


@lru_cache(maxsize=len(WORDS) * len(PLACES))
def _draw_word(
    size: tuple[int, int], word: str, center: float, height: float, width: float, angle: float
) -> NDArray[np.float32]:
    """The opacity (H, W) of a word, 0 to `WORD_OPACITY`."""
    font = load_font(100)
    canvas = Image.new("L", (round(font.getlength(word)), 110))
    ImageDraw.Draw(canvas).text((0, -8), word, font=font, fill=255, stroke_width=3)
    scaled = canvas.resize((max(1, round(width * size[1])), max(1, round(height * size[0]))), Image.Resampling.BOX)
    picture = Image.new("L", (size[1], size[0]))
    picture.paste(scaled, ((size[1] - scaled.width) // 2, round(center * size[0] - scaled.height / 2)))
    return np.asarray(picture.rotate(angle, Image.Resampling.BILINEAR), np.float32) * np.float32(WORD_OPACITY / 255)
