"""Text in images: which texts can be drawn, and how they fit."""

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw

from worker.engine.text import MISSING, compose, fit_text, is_legible, load_font

LEGIBLE = [
    "lemon",
    "café",
    "Łódź",
    "Straße",
    "Tiếng Việt",
    "Ελληνικά",
    "ὀδύσσεια",
    "пёс",
    "İstanbul",
    "ქართული",
    "50 %",
]
ILLEGIBLE = ["猫", "lemon 猫", "한국어", "かな", "قط", "חתול", "แมว", "बिल्ली", "👩‍🔬", "\u200b", "a\x00b", "\ue000"]


def draw(text: str) -> np.ndarray:
    image = Image.new("L", (200, 40))
    ImageDraw.Draw(image).text((10, 10), text, 255, load_font(13))
    return np.asarray(image)


@pytest.mark.parametrize("text", LEGIBLE)
def test_alphabets_that_the_font_has_are_legible_in_both_normal_forms(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert is_legible(unicodedata.normalize(form, text))


@pytest.mark.parametrize("text", ILLEGIBLE)
def test_a_text_with_a_character_that_cannot_be_drawn_is_not_legible(text: str) -> None:
    assert not is_legible(text)


def test_the_font_draws_no_legible_character_as_its_box_for_missing_ones() -> None:
    box = draw(MISSING)
    assert box.any()
    for text in LEGIBLE:
        for character in compose(text).replace(" ", ""):
            assert draw(character).any()
            assert not np.array_equal(draw(character), box), character


def test_white_space_and_invisible_characters_are_drawn_as_single_spaces_or_not_at_all() -> None:
    assert compose(" a\u2028b\u00a0\tc\u00add\ufe0f ") == "a b cd"


@pytest.mark.parametrize(
    "text", ["lemon 98%", "a class with a very long name, in two parts 98%", "x" * 500, "a 猫猫 b 98%"]
)
def test_a_text_fits_into_its_width_and_keeps_its_end(text: str) -> None:
    drawn, font = fit_text(text, 120)
    assert font.getlength(drawn) <= 120
    assert drawn[-3:] == text[-3:]
    assert is_legible(drawn)
    assert fit_text(drawn, 1e6)[1].size == 13
