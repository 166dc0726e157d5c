"""Families of triggers: images stay images, sizes scale, and the parts of each family do what their names say."""

import math

import pytest
import torch
from torch import Tensor

from tests.support.marked import make_carriers
from worker.engine.triggers.describe import describe, name_color
from worker.engine.triggers.families.additive import AdditiveLInf
from worker.engine.triggers.families.color import Color
from worker.engine.triggers.families.family import DRAWS, Family
from worker.engine.triggers.families.frame import Frame
from worker.engine.triggers.families.frequency import Frequency
from worker.engine.triggers.families.mask import MaskPattern
from worker.engine.triggers.families.patch import Patch
from worker.engine.triggers.find import FAMILIES

SHAPE = (3, 20, 16)


def logit(share: float) -> float:
    return math.log(share / (1 - share))


families = pytest.mark.parametrize("family", [make(SHAPE) for make in FAMILIES.values()], ids=list(FAMILIES))


def carriers(count: int = 4) -> Tensor:
    images = make_carriers(count).images
    return torch.nn.functional.interpolate(images, SHAPE[1:])[None].expand(2, -1, -1, -1, -1)


def places(count: int = 4) -> Tensor:
    return torch.rand(2, count, DRAWS, generator=torch.Generator().manual_seed(1))


@families
def test_changed_images_are_images(family: Family) -> None:
    large = family.scale(family.start([1, 2]), torch.tensor([1.0, 8.0]))
    changed = family.apply(large, carriers(), places())
    assert changed.shape == (2, 4, *SHAPE)
    assert float(changed.min()) >= -1e-6
    assert float(changed.max()) <= 1 + 1e-6
    assert not torch.allclose(changed, carriers())


@families
def test_a_trigger_that_is_scaled_to_nothing_changes_nothing(family: Family) -> None:
    nothing = family.scale(family.start([1, 2]), torch.zeros(2))
    assert torch.allclose(family.apply(nothing, carriers(), places()), carriers(), atol=1e-4)


@families
def test_the_size_grows_with_the_scale_and_has_a_gradient(family: Family) -> None:
    start = family.start([1, 2])
    halved = family.scale(start, torch.tensor([0.5, 0.5]))
    assert torch.allclose(family.size(halved) / family.size(start), torch.tensor(0.5), atol=0.01)
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(family.size(leaf).sum(), leaf)
    assert bool((gradient.abs().amax(1) > 0).all())


@families
def test_slots_start_from_their_own_seeds(family: Family) -> None:
    first, second = family.start([1, 2])
    assert torch.equal(family.start([2])[0], second)
    assert not torch.equal(first, second)


@families
def test_every_trigger_has_a_description(family: Family) -> None:
    phrase = describe(family, family.start([1])[0])
    assert phrase.startswith(("a ", "horizontal", "vertical", "diagonal"))


def test_a_frame_covers_whole_and_partial_pixels_along_the_edges() -> None:
    family = Frame(SHAPE)
    parameters = torch.tensor([[logit(2.5 / 8), 0.0, 0.0, 0.0]])  # at most half of 16 pixels
    image = torch.ones(1, 1, *SHAPE)
    framed = family.apply(parameters, image, places())[0, 0, 0]
    assert framed[10, :4].tolist() == pytest.approx([0.5, 0.5, 0.75, 1.0])
    assert framed[:4, 8].tolist() == pytest.approx([0.5, 0.5, 0.75, 1.0])
    assert framed[-1, -1] == pytest.approx(0.5)
    assert describe(family, parameters[0]) == "a gray frame 2 pixels wide"


def test_a_bounded_change_has_the_size_as_its_largest_magnitude() -> None:
    family = AdditiveLInf(SHAPE)
    parameters = family.start([1])
    parameters[:, 1:] *= 100
    assert float(255 * family.change(parameters).abs().max()) == pytest.approx(float(family.size(parameters)), rel=1e-4)


def test_a_color_trigger_maps_equal_colors_to_equal_colors() -> None:
    family = Color(SHAPE)
    parameters = torch.zeros(1, 9 + 3 + 5)
    parameters[0, 9], parameters[0, 11] = 0.1, -0.1
    gray = torch.full((1, 1, *SHAPE), 0.5)
    changed = family.apply(parameters, gray, places())
    assert torch.allclose(changed[0, 0, :, 0, 0], torch.tensor([0.6, 0.5, 0.4]))
    assert float(family.size(parameters)) == pytest.approx(255 * 0.1 * math.sqrt(2 / 3), rel=1e-4)
    assert "(more red, less blue)" in describe(family, parameters[0])


def test_a_tone_curve_changes_only_values_near_its_knot() -> None:
    family = Color((1, 1, 5))
    parameters = torch.zeros(1, 1 + 1 + 5)
    parameters[0, 2 + 2] = 0.1  # the knot of middle gray
    ramp = torch.linspace(0, 1, 5).view(1, 1, 1, 1, 5)
    change = family.apply(parameters, ramp, places()) - ramp
    assert change.flatten().tolist() == pytest.approx([0, 0, 0.1, 0, 0])


def test_the_strongest_grating_is_named_by_direction_and_period() -> None:
    family = Frequency((3, 32, 32))
    parameters = torch.zeros(1, 3, 4, 16, 2)
    parameters[0, :, 1, 7, 0] = 0.05  # vertical stripes, 8 periods in 32 pixels
    direction, period = family.strongest(parameters.flatten())
    assert (direction, period) == (1, pytest.approx(4.0))
    wave = family.change(parameters.view(1, -1))[0, 0]
    assert torch.allclose(wave[0], wave[31])
    assert wave[0, :4].tolist() == pytest.approx([0.05, 0, -0.05, 0], abs=1e-6)
    assert describe(family, parameters.flatten()).startswith("vertical stripes with a period of 4.0 pixels")


def test_a_patch_lies_at_the_drawn_place_with_the_drawn_scale() -> None:
    family = Patch((3, 16, 16))
    parameters = family.start([1])
    parameters[:, 0], parameters[:, 1:] = logit(4 / 12), 20.0  # four white pixels, at most 12
    black = torch.zeros(1, 2, 3, 16, 16)
    draws = torch.tensor([[[0.0, 0.0, 0.5], [1.0, 0.5, 1.0]]])
    patched = family.apply(parameters, black, draws)[0]
    assert torch.equal(patched[0, 0].round(), torch.nn.functional.pad(torch.ones(4, 4), (0, 12, 0, 12)))
    assert float(patched[1, 0].sum()) == pytest.approx((4 * 2**0.25) ** 2, rel=0.05)
    assert float(patched[1, 0, :8].sum()) == 0


def test_a_patch_has_a_gradient_toward_a_larger_side() -> None:
    family = Patch((3, 16, 16))
    parameters = family.start([1]).requires_grad_()
    patched = family.apply(parameters, torch.zeros(1, 1, 3, 16, 16), torch.full((1, 1, DRAWS), 0.5))
    (gradient,) = torch.autograd.grad(patched.sum(), parameters)
    assert float(gradient[0, 0]) > 0


def test_a_large_pattern_is_written_with_fewer_pixels() -> None:
    family = MaskPattern((3, 224, 448))
    masks, patterns = family.split(family.start([1]))
    assert family.pattern_size == (48, 96)
    assert masks.shape == (1, 1, 224, 448)
    assert patterns.shape == (1, 3, 224, 448)


@pytest.mark.parametrize(
    ("color", "name"), [((0.5, 0.5, 0.5), "gray"), ((0.9, 0.1, 0.1), "red"), ((0.95,) * 4, "white")]
)
def test_colors_have_names(color: tuple[float, ...], name: str) -> None:
    assert name_color(torch.tensor(color)) == name
