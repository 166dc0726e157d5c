"""Text in images: a font for Latin, Greek, Cyrillic and other alphabets, and which texts it can show.

The font is DejaVu Sans (`fonts/`), in the basic layout of Pillow, so that every machine draws the same picture. Scripts
that run from right to left, or that combine characters into other shapes, need a layout engine; their texts are not
legible in this sense, even if the font has the characters.
"""

import unicodedata
from functools import cache
from pathlib import Path

from PIL import ImageFont

FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"

MISSING = "\uffff"
"""A code point that never has a glyph: the font draws its box for missing characters."""

SMALLEST, LARGEST = 9, 13
"""Sizes of labels in pixels."""

TAIL = 6
"""Characters at the end of a text that stay if it is cut: a probability, or the end of a name."""


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Loads the font in a size in pixels."""
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


def compose(text: str) -> str:
    """Returns a text as it is drawn: accents composed, white space as spaces, no invisible characters."""
    composed = unicodedata.normalize("NFC", text)
    visible = (character for character in composed if not _is_invisible(character))
    return " ".join("".join(" " if character.isspace() else character for character in visible).split())


def is_legible(text: str) -> bool:
    """Whether a text can be drawn: the font has its characters, and they follow each other from left to right."""
    composed = compose(text)
    return bool(composed) and all(map(_is_drawable, composed))


def fit_text(text: str, width: float) -> tuple[str, ImageFont.FreeTypeFont]:
    """Fits a text into a width.

    Args:
        text: The text. Characters that cannot be drawn are replaced by an ellipsis.
        width: Width in pixels.

    Returns:
        The text, cut before its end if it is too long for the smallest font, and the largest font in which it fits.
    """
    drawn = _replace_missing(compose(text))
    for size in range(LARGEST, SMALLEST - 1, -1):
        font = load_font(size)
        if font.getlength(drawn) <= width:
            return drawn, font
    head, tail = drawn[:-TAIL], drawn[-TAIL:]
    while head and font.getlength(f"{head.rstrip()}…{tail}") > width:
        head = head[:-1]
    return f"{head.rstrip()}…{tail}", font


def _replace_missing(text: str) -> str:
    drawn = "".join(character if _is_drawable(character) else "…" for character in text)
    while "……" in drawn:
        drawn = drawn.replace("……", "…")
    return drawn


def _is_invisible(character: str) -> bool:
    """Whether a character has no shape of its own: a format character, or the selector of a variant."""
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


@cache
def _is_drawable(character: str) -> bool:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Cn", "Co") or unicodedata.bidirectional(character) in ("R", "AL", "AN"):
        return False
    if category.startswith("M") and not unicodedata.name(character, "").startswith("COMBINING"):
        return False  # vowel signs of scripts that need a layout engine
    font = load_font(LARGEST)
    glyph, missing = font.getmask(character), font.getmask(MISSING)
    return (glyph.size, bytes(glyph)) != (missing.size, bytes(missing))
