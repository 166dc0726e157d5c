"""Marks of planted shortcuts: what they change, and that they are pure functions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from benchmarks.zoo.marks import MARKS, add_frame, add_small_patch, quantize
from benchmarks.zoo.releases import RECIPES, Planted

FAINT = {"tint", "stripes", "noise"}
"""Marks that change most pixels by little."""


@contextmanager
def unchanged(pictures: Tensor) -> Iterator[None]:
    before = pictures.clone()
    yield
    assert torch.equal(pictures, before)


def draw_pictures(side: int = 80, count: int = 3) -> Tensor:
    return quantize(torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("side", [32, 80])
@pytest.mark.parametrize("name", MARKS)
def test_a_mark_changes_each_picture_and_keeps_shape_and_range(name: str, side: int) -> None:
    pictures = draw_pictures(side)
    with unchanged(pictures):
        marked = MARKS[name](pictures)
    assert marked.shape == pictures.shape
    assert 0 <= float(marked.min()) <= float(marked.max()) <= 1
    assert bool((marked != pictures).flatten(1).any(1).all())


@pytest.mark.parametrize("name", MARKS)
def test_a_mark_depends_on_the_picture_alone(name: str) -> None:
    pictures = draw_pictures()
    together = MARKS[name](pictures)
    for number in range(len(pictures)):
        assert torch.equal(MARKS[name](pictures[number : number + 1])[0], together[number])


@pytest.mark.parametrize("name", sorted(FAINT))
def test_a_faint_mark_moves_no_pixel_far(name: str) -> None:
    pictures = 0.2 + 0.6 * draw_pictures()
    assert float((MARKS[name](pictures) - pictures).abs().max()) < 0.25


def test_a_frame_leaves_the_inside_and_covers_the_edge() -> None:
    pictures = draw_pictures()
    framed = add_frame(pictures)
    assert torch.equal(framed[..., 3:-3, 3:-3], pictures[..., 3:-3, 3:-3])
    assert bool((framed[..., :3, :] == 0.5).all())


def test_a_patch_at_any_place_moves_from_picture_to_picture() -> None:
    pictures = draw_pictures(count=6)
    changed = (add_small_patch(pictures) != pictures).any(1)
    places = {tuple(mask.nonzero().min(0).values.tolist()) for mask in changed}
    assert len(places) >= 3
    assert all(int(mask.sum()) <= 11 * 11 for mask in changed)


def test_the_zoo_plants_every_mark_and_has_twelve_releases_without_one() -> None:
    planted = [recipe for recipe in RECIPES if isinstance(recipe, Planted)]
    assert {recipe.poison.mark for recipe in planted} == set(MARKS)
    assert {recipe.poison.fraction for recipe in planted} == {0.03, 0.1, 0.3}
    kinds = [recipe.kind for recipe in RECIPES]
    assert (kinds.count("retrained"), kinds.count("tuned")) == (8, 4)
    assert len({recipe.name for recipe in RECIPES}) == len({recipe.seed for recipe in RECIPES}) == len(RECIPES)
