"""Common marks change images as their names say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.audit.common_marks import CommonMark, list_common_marks

IMAGE = np.random.default_rng(1).integers(40, 200, (48, 64, 3), dtype=np.uint8)


def find(name: str) -> CommonMark:
    (found,) = [mark for mark in list_common_marks((48, 64), 3) if mark.name == name]
    return found


def changed(name: str) -> NDArray[np.bool_]:
    """Where a mark changes an image: (H, W)."""
    different: NDArray[np.bool_] = (find(name).apply(IMAGE) != IMAGE).any(2)
    return different


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (224, 180, 3), (40, 28, 7)])
def test_every_mark_keeps_shape_and_type_and_changes_something(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    marks = list_common_marks(shape[:2], shape[2])
    assert len({mark.name for mark in marks}) == len(marks) > 20
    for mark in marks:
        marked = mark.apply(image)
        assert (marked.shape, marked.dtype) == (shape, np.uint8), mark.name
        assert not np.array_equal(marked, image), mark.name
        assert np.array_equal(mark.apply(image), marked), mark.name
    assert np.array_equal(image, before)


def test_words_are_where_their_names_say() -> None:
    rows = {
        place: changed(f"the white word DEMO {place}").any(1).nonzero()[0] for place in ("at the top", "at the bottom")
    }
    assert rows["at the top"].max() < 24 < rows["at the bottom"].min()
    middle = changed("the white word DEMO across the middle")
    assert middle[20:28].any()
    assert not middle[[0, -1]].any()
    assert middle.any(0).sum() > 0.8 * 64


def test_white_and_black_words_move_pixels_to_their_color() -> None:
    for color, sign in (("white", 1), ("black", -1)):
        moved = find(f"the {color} word Photo across the middle").apply(IMAGE).astype(int) - IMAGE
        assert (sign * moved >= 0).all()
        assert (sign * moved).max() > 40


def test_a_band_and_a_cross_cover_their_part() -> None:
    band, cross = changed("a black band at the bottom"), changed("a white cross of thin lines")
    assert band[38:].all()
    assert not band[:38].any()
    assert cross[24].all()
    assert cross[:, 32].all()
    assert cross.mean() < 0.15


def test_light_and_color_change_as_named() -> None:
    mean = IMAGE.mean((0, 1))
    assert np.allclose(find("less light").apply(IMAGE).mean((0, 1)), 0.6 * mean, rtol=0.02)
    assert (find("more light").apply(IMAGE).mean((0, 1)) > mean).all()
    red, _, blue = find("a warm tint").apply(IMAGE).mean((0, 1)) / mean
    assert red > 1.1
    assert blue < 0.9
    gray = find("the loss of color").apply(IMAGE)
    assert (gray == gray[..., :1]).all()


def test_networks_without_color_have_no_marks_of_color() -> None:
    names = {mark.name for mark in list_common_marks((28, 28), 1)}
    assert "less light" in names
    assert not any("color" in name or "JPEG" in name for name in names)
