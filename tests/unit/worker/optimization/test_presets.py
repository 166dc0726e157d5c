"""Each preset compared, step by step, with a slow, literal version of the system that it is named after.

The literal versions are written from SGD, loops and single pictures, as their sources are; they share nothing with the
engine but the network, the first picture and the random numbers.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.presets.class_model import PRESETS
from tests.support.networks import Small, seeded
from worker.engine.ascent.batch import DRAW_SEED
from worker.engine.ascent.config import Step
from worker.engine.ascent.fourier import default_magnitudes
from worker.engine.ascent.octaves import ascend_octaves
from worker.engine.model.classifier import open_classifier
from worker.optimization.ascent_builder import build_ascents, build_slots, choose_canvas

MEAN, STD, SIZE = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], (24, 24)
TARGET, STEPS = 3, 9
CPU = torch.device("cpu")


def run(network: nn.Module, preset: str, **changes: Any) -> tuple[Tensor, list[Step]]:
    """Our first picture (C, H, W) and our steps."""
    params = ClassModelParameters.model_validate({"preset": preset, "steps": STEPS, **changes})
    with open_classifier(network, mean=MEAN, std=STD, size=SIZE, device=CPU) as classifier:
        magnitudes = default_magnitudes(3, choose_canvas(SIZE, params)) if params.image == "maco" else None
        ascents = build_ascents(classifier, params, start_image=None, magnitudes=magnitudes)
        slots = build_slots(params, [TARGET])
        first = ascents[0].start(ascents[0].parameterization, (3, *ascents[0].size), [slots[0].seed])
        return first[0], list(ascend_octaves(classifier, ascents, slots))


def loud() -> nn.Module:
    """A network whose scores are as large as a trained one's."""
    network = seeded(Small)
    network.classifier.weight.data *= 30
    return network


def draws(count: int, steps: int = STEPS) -> Tensor:
    """The random numbers that a slot of this target is given: (steps, count)."""
    return torch.rand((steps, count), generator=torch.Generator().manual_seed(TARGET + DRAW_SEED))


def assert_same_way(ours: list[Step], theirs: Iterator[Tensor], atol: float = 1e-4) -> None:
    """Parameters after every step, and the last picture's."""
    compared = 0
    for step, expected in zip(ours[:-1], theirs, strict=False):
        torch.testing.assert_close(step.parameters[0], expected.detach(), atol=atol, rtol=1e-3)
        compared += 1
    assert compared == STEPS - 1


def mean_std() -> tuple[Tensor, Tensor]:
    return torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)


def test_simonyan2013_is_gradient_ascent_on_the_score_minus_l2_from_the_mean_image() -> None:
    network = seeded(Small)

    def literal() -> Iterator[Tensor]:
        mean, std = mean_std()
        picture = torch.zeros(3, *SIZE)
        while True:
            picture = picture.detach().requires_grad_()
            centred = (picture + mean - mean) / std
            objective = network.eval()(centred[None])[0, TARGET] - 0.1 * (picture**2).sum()
            objective.backward()
            picture = picture + 0.02 * picture.grad
            yield picture

    first, ours = run(network, "simonyan2013")
    assert not first.any()
    assert_same_way(ours, literal())


def test_torchbearer_is_adam_on_a_sigmoid_from_zero() -> None:
    network = seeded(Small)

    def literal() -> Iterator[Tensor]:
        mean, std = mean_std()
        image = nn.Parameter(torch.zeros(3, *SIZE))
        optimizer = torch.optim.Adam([image], lr=0.5)
        while True:
            optimizer.zero_grad()
            prediction = network.eval()(((image.sigmoid() - mean) / std).unsqueeze(0))
            loss = -prediction[0, TARGET].sum() + 0.01 * image.pow(2).sum()
            loss.backward()
            optimizer.step()
            yield image

    first, ours = run(network, "torchbearer")
    assert not first.any()
    assert_same_way(ours, literal())


def recreate(processed: Tensor) -> np.ndarray:
    """Its `recreate_image`: back to 8 bits."""
    mean, std = mean_std()
    values = (processed.detach()[0] * std + mean).clamp(0, 1).numpy()
    return np.uint8(np.round(values * 255)).transpose(1, 2, 0)


def process(created: np.ndarray, radius: float | None = None) -> Tensor:
    """Its `preprocess_image` and `preprocess_and_blur_image`."""
    mean, std = mean_std()
    picture = Image.fromarray(created)
    if radius:
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
    values = torch.from_numpy(np.float32(picture).transpose(2, 0, 1)) / 255
    return ((values - mean) / std).unsqueeze(0).requires_grad_()


def cnn_visualizations(
    network: nn.Module, created: np.ndarray, *, decay: float = 0.0, l1: float = 0.0, blur: bool = False
) -> Iterator[Tensor]:
    step = 0
    while True:
        step += 1
        processed = process(created, 1 if blur and step % 4 == 0 else None)
        optimizer = torch.optim.SGD([processed], lr=6, weight_decay=decay)
        loss = -network.eval()(processed)[0, TARGET] + l1 * processed.abs().sum()
        loss.backward()
        optimizer.step()
        created = recreate(processed)
        yield process(created)[0]


@pytest.mark.parametrize(
    ("preset", "literal"),
    [
        ("pytorch_cnn_visualizations", {}),
        ("pytorch_cnn_visualizations_l1", {"l1": 1e-4}),
        ("pytorch_cnn_visualizations_l2", {"decay": 1e-4}),
        ("pytorch_cnn_visualizations_blurred", {"decay": 1e-4, "blur": True}),
    ],
)
def test_pytorch_cnn_visualizations_is_sgd_on_8_bit_images(preset: str, literal: dict[str, Any]) -> None:
    network = seeded(Small)
    first, ours = run(network, preset)
    created = recreate(first[None])
    assert created.min() == 0
    assert created.max() == 255
    mean, std = mean_std()
    for step, expected in zip(ours[:-1], cnn_visualizations(network, created, **literal), strict=False):
        levels = (step.parameters[0] * std + mean) * 255
        difference = (levels - ((expected.detach() * std + mean) * 255)).abs()
        # A level may be rounded the other way, and Pillow's blur rounds after each of its passes.
        assert difference.mean() < (1.3 if literal.get("blur") else 0.002)
        assert difference.max() <= 1.01 or literal.get("blur")


def test_timm_vis_is_sgd_with_decay_and_a_staircase() -> None:
    network = seeded(Small)
    first, ours = run(network, "timm_vis", schedule={"kind": "staircase", "every": 3, "factor": 0.6})

    def literal() -> Iterator[Tensor]:
        noise = first[None].clone().requires_grad_()
        optimizer = torch.optim.SGD([noise], lr=10, weight_decay=0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.6)
        while True:
            optimizer.zero_grad()
            (-network.eval()(noise)[0][TARGET]).backward()
            optimizer.step()
            scheduler.step()
            yield noise[0]

    assert first.std() == pytest.approx(1, abs=0.05)
    assert_same_way(ours, literal())


def test_timm_vis_stops_at_its_probability() -> None:
    network = loud()
    first, ours = run(network, "timm_vis", steps=200, learning_rate=1.0, stop_probability=0.6)
    noise, taken = first[None].clone().requires_grad_(), 0
    optimizer = torch.optim.SGD([noise], lr=1.0, weight_decay=0.05)
    for taken in range(200):  # noqa: B007
        outs = network.eval()(noise)
        if outs[0].softmax(0)[TARGET] > 0.6:
            break
        optimizer.zero_grad()
        (-outs[0][TARGET]).backward()
        optimizer.step()
    (end,) = ours[-1].ended
    assert (end.reason, end.steps) == ("probability", taken)
    assert 0 < taken < 199
    mean, std = mean_std()
    torch.testing.assert_close(end.image, (noise.detach()[0] * std + mean), atol=1e-3, rtol=1e-3)


def test_keras_vis_is_rmsprop_with_unit_gradients_and_keeps_its_best_image() -> None:
    network = seeded(Small)
    first, ours = run(network, "keras_vis")
    mean, std = mean_std()

    def loss_of(levels: Tensor) -> Tensor:
        size = 3 * SIZE[0] * SIZE[1]
        activation = network.eval()(((levels / 255 - mean) / std)[None])[0, TARGET]
        norm = levels.abs().pow(6).sum().pow(1 / 6) / size
        variation = torch.zeros(())
        for row in range(SIZE[0] - 1):
            down = levels[:, row + 1, :-1] - levels[:, row, :-1]
            right = levels[:, row, 1:] - levels[:, row, :-1]
            variation = variation + (down**2 + right**2).pow(2.0 / 2).sum()
        return -activation + 10 * norm + 10 * variation / size

    visited: list[Tensor] = []

    def literal() -> Iterator[Tensor]:
        levels, cache = first.clone(), torch.zeros(3, *SIZE)
        while True:
            levels = levels.detach().requires_grad_()
            visited.append(levels.detach())
            loss = loss_of(levels)
            loss.backward()
            gradient = levels.grad / levels.grad.norm()
            cache = 0.95 * cache + 0.05 * gradient**2
            levels = levels - gradient / torch.sqrt(cache + 1e-7)
            yield levels

    assert first.mean() == pytest.approx(127.5, abs=1)
    assert first.std() == pytest.approx(0.05 * 255, abs=0.5)
    theirs = literal()
    assert_same_way(ours, theirs, atol=0.02)
    last = next(theirs).detach()
    visited.append(last)
    best = min(visited, key=lambda levels: float(loss_of(levels).detach()))
    torch.testing.assert_close(ours[-1].ended[0].image, best / 255, atol=1e-4, rtol=1e-3)


def test_lucid_is_adam_on_a_spectrum_seen_through_its_standard_transforms() -> None:
    network = seeded(Small)
    first, ours = run(network, "lucid", canvas=[32, 40])
    mean, std = mean_std()
    numbers = draws(6)

    def pick(choices: list[float], number: Tensor) -> float:
        return choices[int(number * len(choices))]

    def transform(picture: Tensor, random: Tensor) -> Tensor:
        picture = functional.pad(picture, (12, 12, 12, 12), value=0.5)
        top, left = int(random[0] * 9), int(random[1] * 9)
        picture = picture[:, :, top : top + picture.shape[2] - 8, left : left + picture.shape[3] - 8]
        scale = pick([1 + (i - 5) / 50.0 for i in range(11)], random[2])
        size = (int(scale * picture.shape[2]), int(scale * picture.shape[3]))
        picture = functional.interpolate(picture, size, mode="bilinear")
        picture = rotate(picture, pick([*range(-10, 11), 0, 0, 0, 0, 0], random[3]))
        top, left = int(random[4] * 5), int(random[5] * 5)
        picture = picture[:, :, top : top + picture.shape[2] - 4, left : left + picture.shape[3] - 4]
        return functional.interpolate(picture, SIZE, mode="bilinear")

    def literal() -> Iterator[Tensor]:
        spectrum = first[None].clone().requires_grad_()
        optimizer = torch.optim.Adam([spectrum], lr=0.05)
        for random in numbers:
            optimizer.zero_grad()
            shown = transform(lucid_picture(spectrum, (32, 40)), random)
            (-network.eval()((shown - mean) / std)[0, TARGET]).backward()
            optimizer.step()
            yield spectrum[0]

    assert first.std() == pytest.approx(0.01, rel=0.1)
    # Adam takes a step of 0.05 also where a gradient is all rounding error.
    assert_same_way(ours, literal(), atol=2e-3)


def lucid_picture(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
    """`fft_image`, `_linear_decorrelate_color` and the sigmoid."""
    height, width = size
    frequencies = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width)[: width // 2 + 1] ** 2)
    scale = torch.tensor(1 / np.maximum(frequencies, 1 / max(size))).float() * math.sqrt(height * width)
    image = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=size) / 4.0
    colours = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    colours = colours / colours.norm(dim=0).max()
    return torch.sigmoid((image.permute(0, 2, 3, 1) @ colours.T).permute(0, 3, 1, 2))


def rotate(picture: Tensor, degrees: float) -> Tensor:
    """About the middle, pixel by pixel, bilinear, black beyond the edge."""
    height, width = picture.shape[2:]
    angle = math.radians(degrees)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    from_x = math.cos(angle) * x - math.sin(angle) * y + (width - 1) / 2
    from_y = math.sin(angle) * x + math.cos(angle) * y + (height - 1) / 2
    return bilinear(picture, from_y, from_x)


def bilinear(picture: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values between pixels, by their four neighbours; beyond the picture lies black."""
    padded = functional.pad(picture, (1, 1, 1, 1))
    result = torch.zeros(*picture.shape[:2], *y.shape)
    top, left = y.floor(), x.floor()
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1 - (y - top - row).abs()) * (1 - (x - left - column).abs())
        at_y = (top + row).clamp(-1, picture.shape[2]).long() + 1
        at_x = (left + column).clamp(-1, picture.shape[3]).long() + 1
        result = result + weight * padded[:, :, at_y, at_x]
    return result


def test_maco_is_nadam_on_phases_seen_through_noisy_boxes() -> None:
    network = seeded(Small)
    side = 64
    first, ours = run(network, "maco", canvas=[side, side], views=2)
    mean, std = mean_std()
    numbers = draws(12)
    frequencies = np.sqrt(np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side) ** 2)
    magnitude = torch.tensor(1 / np.maximum(frequencies, 1 / side)).float().expand(3, -1, -1)

    def standardize(tensor: Tensor) -> Tensor:
        tensor = tensor - torch.mean(tensor)
        return tensor / (torch.std(tensor) + 1e-4)

    def picture_of(phase: Tensor) -> Tensor:
        phase = standardize(phase)
        spectrum = torch.complex(torch.cos(phase) * magnitude, torch.sin(phase) * magnitude)
        image = standardize(torch.fft.irfft2(spectrum))
        colours = torch.tensor(
            [
                [0.56282854, 0.58447580, 0.58447580],
                [0.19482528, 0.0, -0.19482528],
                [0.04329450, -0.10823626, 0.06494176],
            ]
        )
        return torch.sigmoid((image.permute(1, 2, 0).reshape(-1, 3) @ colours).view(side, side, 3).permute(2, 0, 1))

    def crop(image: Tensor, random: Tensor) -> Tensor:
        """`roi_align` with one sample per bin at twice the size, shrunk, with noise."""
        radius = [math.sqrt(-2 * math.log(max(float(number), 1e-12))) for number in random[:2]]
        x0, y0 = (0.5 + 0.15 * radius[i] * math.cos(2 * math.pi * float(random[2 + i])) for i in range(2))
        delta = 0.25 + 0.05 * float(random[4])
        bins = (torch.arange(2 * SIZE[0]) + 0.5) / (2 * SIZE[0]) * delta * side
        x, y = (x0 - delta / 2) * side + bins, (y0 - delta / 2) * side + bins
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        large = bilinear(image[None], rows, columns)
        small = functional.interpolate(large, SIZE, mode="bicubic", align_corners=True, antialias=True)
        generator = torch.Generator().manual_seed(int(float(random[5]) * 2**24))
        shape = (3, *SIZE)
        noise = torch.randn(shape, generator=generator) + torch.rand(shape, generator=generator) - 0.5
        return small + 0.05 * float(std.mean()) * noise

    def literal() -> Iterator[Tensor]:
        phase = first.clone().requires_grad_()
        optimizer = torch.optim.NAdam([phase], lr=1.0)
        for random in numbers:
            optimizer.zero_grad()
            image = picture_of(phase)
            crops = torch.cat([crop(image, random[:6]), crop(image, random[6:])])
            (-network.eval()((crops - mean) / std)[:, TARGET].mean()).backward()
            optimizer.step()
            yield phase

    assert first.std() == pytest.approx(1, abs=0.05)
    # NAdam divides small gradients by their roots, so that phases drift apart by rounding errors; the pictures do not.
    for step, phase in zip(ours[:-1], literal(), strict=False):
        difference = (step.images()[0] - picture_of(phase).detach()).abs()
        assert difference.mean() < 1e-2


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_raises_the_score_and_every_parameter_can_be_overridden(preset: str) -> None:
    small = {"canvas": [48, 48]} if preset in ("maco", "lucid") else {}
    # The regularizers of keras_vis outweigh the scores of so small a network.
    smooth = {"regularizers": []} if preset == "keras_vis" else {}
    _, ours = run(loud(), preset, steps=40, stop_probability=None, **small, **smooth)
    assert ours[-1].values[0] > ours[0].values[0]
    changed = ClassModelParameters.model_validate({"preset": preset, "steps": 3, "learning_rate": 0.25})
    assert (changed.steps, changed.learning_rate) == (3, 0.25)
    given = {name: value for name, value in changed if name not in ("preset", "steps", "learning_rate")}
    whole = ClassModelParameters.model_validate({"preset": preset})
    assert given == {name: value for name, value in whole if name in given}
