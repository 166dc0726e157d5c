"""Derives the preprocessing of a release from a library's own preprocessing of images, and checks that they agree.

The library's preprocessing is a function, which is tried on a black, a white and a drawn image. So every library and
every class of image processor is treated in the same way, and a preprocessing that this service does not have is
noticed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archetype.contract.model import Preprocessing
from worker.inputs.view import crop_levels

Reference = Callable[[Image.Image], NDArray[np.float32]]
"""The library's preprocessing of an RGB image: returns an array (C, H, W)."""

TOLERANCE = 0.02
"""Largest mean difference from the library's preprocessing, as a fraction of the range from black to white.

Libraries round the size of the resized image and the place of the crop in other ways, up to one pixel.
"""

SIZES = ((300, 400), (400, 300))
"""Width and height of the drawn images: one is wide, one is tall."""


class OtherPreprocessing(ValueError):
    """A preprocessing that cannot be described; the message is a sentence without its subject."""


@dataclass(frozen=True)
class Declared:
    """What a model folder says about its preprocessing.

    Attributes:
        resizes: Lengths to which the shorter side may be resized before a crop.
        side: Side of the input for images of any size, if the preprocessing leaves the size of images as it is.
        interpolation: Interpolation that is used to resize images.
        mean: Mean of each channel, in units of `range`.
        std: Standard deviation of each channel.
    """

    resizes: Sequence[int] = ()
    side: int | None = None
    interpolation: str = "bilinear"
    mean: Sequence[float] = field(default=())
    std: Sequence[float] = field(default=())


def derive_preprocessing(reference: Reference, declared: Declared) -> tuple[Preprocessing, list[str]]:
    """Returns the preprocessing that does what a library does, and what was assumed, in sentences.

    Raises:
        OtherPreprocessing: No preprocessing of this service does the same.
    """
    size, notes = _find_size(reference, declared)
    mean, std = _find_normalization(reference, declared)
    drawn = [_draw(width, height) for width, height in SIZES]
    wanted = [reference(image) for image in drawn]
    if notes:  # the library does not crop, so that there is nothing to compare with
        return _build(size, None, "crop", declared, mean, std), notes
    plain = [_build(size, resize, fit, declared, mean, std) for fit, resize in _list_fits(size, declared)]
    candidates = [*plain, *(each.model_copy(update={"channel_order": "BGR"}) for each in plain)]
    pairs = list(zip(drawn, wanted, strict=True))
    differences = [max(measure_difference(*pair, candidate) for pair in pairs) for candidate in candidates]
    if min(differences) <= TOLERANCE:
        return candidates[differences.index(min(differences))], []
    raise OtherPreprocessing(
        "does more than resize, crop and normalize an image; give `preprocessing` in the registration, and images as "
        "the network expects them"
    )


def _find_size(reference: Reference, declared: Declared) -> tuple[tuple[int, int], list[str]]:
    """Returns height and width of the input, and a note if the library does not fix them."""
    shapes = {reference(Image.new("RGB", size)).shape[1:] for size in SIZES}
    if len(shapes) == 1:
        height, width = shapes.pop()
        return (height, width), []
    side = declared.side or min(min(shape) for shape in shapes)
    note = (
        f"The image processor of the folder fixes no input size; images are resized and cropped to {side} x {side} "
        "pixels. Give `preprocessing` in the registration to change that."
    )
    return (side, side), [note]


def _find_normalization(reference: Reference, declared: Declared) -> tuple[list[float], list[float]]:
    """Returns mean and standard deviation of each channel, measured with a black and a white image."""
    black, white = (
        reference(Image.new("RGB", SIZES[0], color)).mean((1, 2), np.float64) for color in ("black", "white")
    )
    if not (np.isfinite(black).all() and (white > black).all()):
        raise OtherPreprocessing("does not keep the order of dark and bright; give `preprocessing` in the registration")
    mean, std = -black / (white - black), 1 / (white - black)
    if len(declared.mean) == len(declared.std) == len(mean):  # exact numbers instead of measured ones
        close = np.allclose(mean, declared.mean, atol=1e-4) and np.allclose(std, declared.std, rtol=1e-4)
        if close:
            return list(map(float, declared.mean)), list(map(float, declared.std))
    return [round(float(value), 6) for value in mean], [round(float(value), 6) for value in std]


def _list_fits(size: tuple[int, int], declared: Declared) -> Iterator[tuple[str, int | None]]:
    resizes = [resize for resize in dict.fromkeys(declared.resizes) if resize >= min(size)]
    yield from (("crop", resize) for resize in resizes)
    yield from (("crop", None), ("stretch", None))
    yield from (("stretch_crop", resize) for resize in resizes)


def _build(
    size: tuple[int, int], resize: int | None, fit: str, declared: Declared, mean: list[float], std: list[float]
) -> Preprocessing:
    fields = {"size": size, "resize": None if resize == min(size) else resize, "fit": fit, "mean": mean, "std": std}
    return Preprocessing.model_validate({**fields, "interpolation": declared.interpolation})


def measure_difference(image: Image.Image, wanted: NDArray[np.float32], preprocessing: Preprocessing) -> float:
    """Returns the mean difference of our view of an image from the library's array (C, H, W), in 0..1."""
    levels = crop_levels(np.asarray(image), preprocessing).astype(np.float32) / 255  # (H, W, C)
    mean, std = (np.array(values, np.float32) for values in (preprocessing.levels_mean, preprocessing.levels_std))
    theirs = wanted[::-1] if preprocessing.channel_order == "BGR" else wanted
    theirs = theirs.transpose(1, 2, 0) * std + mean  # (H, W, C), RGB
    return float(np.abs(levels - theirs).mean()) if levels.shape == theirs.shape else float("inf")


def _draw(width: int, height: int) -> Image.Image:
    """Returns an image that shows where it is cropped and which channel is which: one smooth ramp per channel."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = columns / (width - 1), rows / (height - 1), 1 - columns / (width - 1) * rows / (height - 1)
    return Image.fromarray((np.stack(ramps, axis=2) * 255).round().astype(np.uint8))
