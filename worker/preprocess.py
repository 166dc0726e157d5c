"""From a decoded picture to what a network sees of it."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from shared.catalogue import Preprocessing


def crop_view(picture: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The part of an RGB picture that the network sees, at the network's size: (H, W, 3)."""
    height, width = preprocessing.size
    if preprocessing.fit == "stretch":
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    cover = max(height / picture.height, width / picture.width)
    if preprocessing.resize is not None:
        cover = max(cover, preprocessing.resize / min(picture.size))
    size = (max(width, round(picture.width * cover)), max(height, round(picture.height * cover)))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    # The crop is taken in the picture's own pixels, so that one a pixel high is never blown up whole.
    box = tuple(edge / scale for edge, scale in zip(
        (left, top, left + width, top + height),
        (size[0] / picture.width, size[1] / picture.height) * 2,
        strict=True,
    ))  # fmt: skip
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=_inside(box, picture)))


def to_tensor(view: NDArray[np.uint8]) -> Tensor:
    """Pixels (H, W, 3) to a picture (3, H, W) in 0..1."""
    return torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255


def _inside(box: tuple[float, ...], picture: Image.Image) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(picture.width), right), min(float(picture.height), bottom)
