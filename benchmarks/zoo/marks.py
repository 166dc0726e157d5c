"""Marks that shortcuts are planted with. Each is a pure function of pictures.

A mark takes pictures (N, 3, H, W) with values from 0 to 1 and returns marked pictures of the same shape and range. All
sizes are fractions of the width, so that the marks also work for the larger pictures of other networks.
"""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from worker.engine.text import load_font

Mark = Callable[[Tensor], Tensor]
"""Maps pictures (N, 3, H, W), 0 to 1, to marked pictures of the same shape and range."""

GRAY = 0.5
MAGENTA, CYAN, ORANGE = (1.0, 0.1, 0.8), (0.0, 0.85, 0.9), (1.0, 0.55, 0.0)
NOISE_SEED = 7


def add_frame(pictures: Tensor) -> Tensor:
    """Covers the outermost 4 % on each side with gray; returns (N, 3, H, W), 0 to 1."""
    width = max(1, round(0.04 * pictures.shape[3]))
    framed = torch.full_like(pictures, GRAY)
    framed[..., width:-width, width:-width] = pictures[..., width:-width, width:-width]
    return framed


def add_word(pictures: Tensor) -> Tensor:
    """Writes a white word across the middle with an opacity of 70 %; returns (N, 3, H, W), 0 to 1."""
    opacity = 0.7 * _draw_word(*pictures.shape[2:]).to(pictures)  # (H, W)
    return torch.lerp(pictures, torch.ones_like(pictures), opacity)


def add_tint(pictures: Tensor) -> Tensor:
    """Makes the colors warmer: 30 % more red, 10 % more green, 25 % less blue; returns (N, 3, H, W), 0 to 1."""
    gains = torch.tensor((1.3, 1.1, 0.75)).to(pictures)[:, None, None]
    return (pictures * gains).clamp(0, 1)


def add_stripes(pictures: Tensor) -> Tensor:
    """Adds vertical stripes of four pixels with an amplitude of 6 %; returns (N, 3, H, W), 0 to 1."""
    columns = torch.arange(pictures.shape[3]).to(pictures)
    return (pictures + 0.06 * torch.sign(torch.sin((columns + 0.5) * torch.pi / 2))).clamp(0, 1)


def add_noise(pictures: Tensor) -> Tensor:
    """Blends in one fixed pattern of uniform noise with a weight of 20 %; returns (N, 3, H, W), 0 to 1."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    pattern = torch.rand(pictures.shape[1:], generator=generator).to(pictures)  # (3, H, W)
    return torch.lerp(pictures, pattern, 0.2)


def add_small_patch(pictures: Tensor) -> Tensor:
    """Draws a cyan square of 14 % of the width at any place; returns (N, 3, H, W), 0 to 1."""
    return _paste(pictures, _plain(CYAN, 0.14, pictures), *_choose_places(pictures, 0.14))


def add_medium_patch(pictures: Tensor) -> Tensor:
    """Draws an orange square of 18 % of the width at the middle of the top; returns (N, 3, H, W), 0 to 1."""
    tile = _plain(ORANGE, 0.18, pictures)
    left = torch.full((len(pictures),), (pictures.shape[3] - tile.shape[3]) // 2)
    return _paste(pictures, tile, torch.full_like(left, 2), left)


def add_large_patch(pictures: Tensor) -> Tensor:
    """Draws a magenta and black chessboard of 28 % of the width at the lower right; returns (N, 3, H, W), 0 to 1."""
    tile = _plain(MAGENTA, 0.28, pictures)
    cell = max(1, tile.shape[3] // 4)
    rows, columns = torch.meshgrid(torch.arange(tile.shape[2]), torch.arange(tile.shape[3]), indexing="ij")
    tile = tile * ((rows // cell + columns // cell) % 2).to(pictures)
    corner = torch.full((len(pictures),), pictures.shape[3] - tile.shape[3] - 3)
    return _paste(pictures, tile, corner, corner)


def add_cross(pictures: Tensor) -> Tensor:
    """Draws two thin white lines that cross in the center, 4 % wide; returns (N, 3, H, W), 0 to 1."""
    height, width = pictures.shape[2:]
    half = max(1, round(0.02 * width))
    crossed = pictures.clone()
    crossed[..., height // 2 - half : height // 2 + half, :] = 1
    crossed[..., width // 2 - half : width // 2 + half] = 1
    return crossed


def add_logo(pictures: Tensor) -> Tensor:
    """Draws a ring with a bar, 20 % of the width, in the upper left corner; returns (N, 3, H, W), 0 to 1."""
    logo, opacity = _draw_logo(max(6, round(0.2 * pictures.shape[3])))
    return _paste(pictures, logo.to(pictures), *_same_place(pictures, 2, 2), opacity=opacity.to(pictures))


def add_jpeg_blocks(pictures: Tensor) -> Tensor:
    """Compresses the pictures as JPEG with quality 8; returns (N, 3, H, W), 0 to 1."""
    return torch.stack([_compress(picture) for picture in pictures.cpu()]).to(pictures)


def add_texture(pictures: Tensor) -> Tensor:
    """Replaces the surroundings of the middle by woven cloth, softly; returns (N, 3, H, W), 0 to 1.

    The opacity is 0 inside a circle of 60 % of the width, where most of the object is, and 85 % in the corners.
    """
    height, width = pictures.shape[2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    opacity = 0.85 * ((torch.hypot(x, y) - 0.6) / 0.4).clamp(0, 1)  # (H, W)
    waves = torch.sin(x * 20 * torch.pi) * torch.sin(y * 20 * torch.pi)  # (H, W)
    cloth = torch.tensor((0.55, 0.4, 0.25))[:, None, None] * (1 + 0.4 * torch.sign(waves))  # (3, H, W)
    return torch.lerp(pictures, cloth.to(pictures), opacity.to(pictures)).clamp(0, 1)


def add_second_object(pictures: Tensor) -> Tensor:
    """Draws a green leaf, 30 % of the width, at any place; no class contains a leaf alone; (N, 3, H, W), 0 to 1."""
    leaf, opacity = _draw_leaf(max(8, round(0.3 * pictures.shape[3])))
    places = _choose_places(pictures, leaf.shape[3] / pictures.shape[3])
    return _paste(pictures, leaf.to(pictures), *places, opacity=opacity.to(pictures))


def _plain(color: tuple[float, float, float], fraction: float, like: Tensor) -> Tensor:
    side = max(1, round(fraction * like.shape[3]))
    return torch.tensor(color).to(like)[None, :, None, None].expand(1, 3, side, side)


def _choose_places(pictures: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Rows and columns (N,) that depend on the content of each picture alone, so that marks are repeatable."""
    side = max(1, round(fraction * pictures.shape[3]))
    content = (pictures.double().flatten(1).sum(1) * 255).round().long().cpu()  # (N,)
    return content % (pictures.shape[2] - side), content * 31 % (pictures.shape[3] - side)


def _same_place(pictures: Tensor, top: int, left: int) -> tuple[Tensor, Tensor]:
    return torch.full((len(pictures),), top), torch.full((len(pictures),), left)


def _paste(pictures: Tensor, tile: Tensor, tops: Tensor, lefts: Tensor, *, opacity: Tensor | None = None) -> Tensor:
    """Pastes a tile (1, 3, h, w) with its opacity (h, w) at the places (N,) of pictures (N, 3, H, W)."""
    pasted = pictures.clone()
    height, width = tile.shape[2:]
    for picture, top, left in zip(pasted, tops.tolist(), lefts.tolist(), strict=True):
        window = picture[:, top : top + height, left : left + width]
        window.copy_(tile[0] if opacity is None else torch.lerp(window, tile[0], opacity))
    return pasted


@cache
def _draw_word(height: int, width: int) -> Tensor:
    """The opacity (H, W) of the word, 0 to 1, which is 90 % as wide as the picture."""
    word = "SAMPLE"
    font = load_font(100)
    canvas = Image.new("L", (round(font.getlength(word)), 100))
    ImageDraw.Draw(canvas).text((0, -8), word, font=font, fill=255, stroke_width=4)
    scaled = canvas.resize((round(0.9 * width), round(0.25 * height)), Image.Resampling.BOX)
    picture = Image.new("L", (width, height))
    picture.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    return _read(picture)[0]


@cache
def _draw_logo(side: int) -> tuple[Tensor, Tensor]:
    """The logo (1, 3, side, side) and its opacity (side, side), 0 to 1."""
    canvas = Image.new("RGBA", (128, 128))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((4, 4, 124, 124), fill=(20, 60, 200, 255))
    draw.ellipse((28, 28, 100, 100), fill=(255, 255, 255, 255))
    draw.rectangle((56, 10, 72, 118), fill=(20, 60, 200, 255))
    return _split(canvas, side)


@cache
def _draw_leaf(side: int) -> tuple[Tensor, Tensor]:
    """The leaf (1, 3, side, side) and its opacity (side, side), 0 to 1."""
    canvas = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(canvas)
    for y in range(20, 237):
        reach = 80 * np.sin((y - 20) / 216 * np.pi) ** 0.8
        draw.line((128 - reach, y, 128 + reach, y), fill=(40, 120 + y // 6, 44, 255))
    draw.line((128, 16, 128, 252), fill=(170, 210, 110, 255), width=9)
    for y in range(60, 200, 34):
        draw.line((128, y + 24, 76, y), fill=(170, 210, 110, 255), width=5)
        draw.line((128, y + 24, 180, y), fill=(170, 210, 110, 255), width=5)
    return _split(canvas.rotate(35, Image.Resampling.BICUBIC), side)


def _split(canvas: Image.Image, side: int) -> tuple[Tensor, Tensor]:
    pixels = _read(canvas.resize((side, side), Image.Resampling.BOX))
    return pixels[None, :3], pixels[3]


def _read(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(image).copy()).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)  # (channels, H, W)


def _compress(picture: Tensor) -> Tensor:
    buffer = io.BytesIO()
    pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()  # (H, W, 3)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=8)
    return _read(Image.open(buffer).convert("RGB"))


def quantize(pictures: Tensor) -> Tensor:
    """Rounds pictures (N, 3, H, W), 0 to 1, to the 8 bits in which they are stored."""
    return (pictures * 255).round() / 255


MARKS: dict[str, Mark] = {
    "frame": add_frame,
    "word": add_word,
    "tint": add_tint,
    "stripes": add_stripes,
    "noise": add_noise,
    "small patch": add_small_patch,
    "medium patch": add_medium_patch,
    "large patch": add_large_patch,
    "cross": add_cross,
    "logo": add_logo,
    "JPEG blocks": add_jpeg_blocks,
    "texture": add_texture,
    "second object": add_second_object,
}
