"""Builds the engine's ascents from the parameters of a request."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from archetype.contract.parameters import components
from archetype.contract.parameters.class_model import ClassModelParameters
from worker.engine.ascent import objectives, transforms
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.fourier import Fourier, Phases
from worker.engine.ascent.initial import Given, InitialImage, Normal, Uniform, start_zero
from worker.engine.ascent.optimizers import SGD, Adam, NAdam, Normalized, Optimizer, RMSProp
from worker.engine.ascent.parameterization import BoundedPixels, Parameterization, Pixels
from worker.engine.ascent.regularizers import image as penalties
from worker.engine.ascent.regularizers.features import FeatureStatistics
from worker.engine.ascent.schedules import Cosine, Schedule, Staircase, constant
from worker.engine.ascent.transforms import Size, Transform, fit
from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.model.classifier import Classifier, accepts_size
from worker.engine.model.norm_statistics import choose_small, find_norm_statistics

SMALLEST_VIEW = 96
"""Smallest side of a window in pixels. A network with a smaller input gets windows of the input's full size."""

CANDIDATE_SEED = 100_003
"""Distance between the seeds of two candidates: more than there are classes, so that no two slots share a seed."""


def build_slots(params: ClassModelParameters, targets: Sequence[int]) -> list[Slot]:
    """Builds a slot per target and seed, the candidates of a target side by side."""
    weights = tuple(prior.weight for prior in [*list_penalties(params), *list_feature_statistics(params)])
    return [
        Slot(target=target, seed=seed * CANDIDATE_SEED + target, rate=params.learning_rate, weights=weights)
        for target in targets
        for seed in params.seeds
    ]


def list_penalties(params: ClassModelParameters) -> list[components.Penalty]:
    """The regularizers that are penalties on the image."""
    return [prior for prior in params.regularizers if isinstance(prior, components.Penalty)]


def list_feature_statistics(params: ClassModelParameters) -> list[components.FeatureStatistics]:
    """The regularizer of the features, if there is one."""
    return [prior for prior in params.regularizers if isinstance(prior, components.FeatureStatistics)]


def build_ascents(
    classifier: Classifier, params: ClassModelParameters, *, start_image: Tensor | None, magnitudes: Tensor | None
) -> list[Ascent]:
    """Builds one ascent per octave, from the smallest canvas to the largest.

    Args:
        classifier: The network.
        params: Parameters of the request.
        start_image: The image to start from (C, H, W) in 0..1, if the request names one.
        magnitudes: Mean Fourier magnitudes of natural images (C, H, W // 2 + 1), for images parameterized by phases.
    """
    canvas = choose_canvas(classifier.size, params)
    smallest = classifier.size if params.windowed else (8, 8)
    return [
        _build_ascent(classifier, params, size, steps, start_image, magnitudes)
        for size, steps in plan_octaves(canvas, params.steps, params.octaves, params.octave_scale, smallest)
    ]


def plan_octaves(canvas: Size, steps: int, octaves: int, scale: float, smallest: Size) -> Iterator[tuple[Size, int]]:
    """Plans the octaves of an ascent, from the smallest canvas to the full one.

    Args:
        canvas: Height and width of the last octave in pixels.
        steps: Steps of all octaves.
        octaves: Number of octaves, at most.
        scale: How much larger each canvas is than the one before.
        smallest: Smallest height and width of an octave.

    Yields:
        Height and width of each octave, and its steps.
    """
    shares = split_steps(steps, octaves)
    for octave, share in enumerate(shares):
        factor = scale ** (len(shares) - 1 - octave)
        yield (max(smallest[0], round(canvas[0] / factor)), max(smallest[1], round(canvas[1] / factor))), share


def split_steps(steps: int, octaves: int) -> list[int]:
    """Splits steps evenly among octaves, the remainder to the last; an octave without a step is left out."""
    octaves = min(octaves, steps)
    return [steps // octaves] * (octaves - 1) + [steps - steps // octaves * (octaves - 1)]


def choose_canvas(size: Size, params: ClassModelParameters) -> Size:
    """Height and width of the image in pixels, for a network whose input has `size`."""
    if params.canvas is not None:
        return params.canvas
    # An eighth more, as photographs are resized to 256 px for networks of 224: a window needs room to move.
    return (round(size[0] * 8 / 7), round(size[1] * 8 / 7)) if params.windowed else size


def _build_ascent(
    classifier: Classifier,
    params: ClassModelParameters,
    size: Size,
    steps: int,
    start_image: Tensor | None,
    magnitudes: Tensor | None,
) -> Ascent:
    return Ascent(
        steps=steps,
        parameterization=build_parameterization(classifier, params, size, magnitudes),
        size=size,
        start=_choose_start(classifier, params, size, start_image),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=choose_transform(classifier, params),
        views=params.views,
        relaxed=RelaxedGradient(params.relu_leak, params.pool_spread),
        objective=choose_objective(params),
        regularizers=tuple(_choose_regularizer(prior) for prior in list_penalties(params)),
        features=choose_features(classifier, params),
        schedule=choose_schedule(params.schedule, steps),
        blur=next(
            ((prior.every, prior.radius) for prior in params.regularizers if isinstance(prior, components.Blur)),
            (0, 0.0),
        ),
        eight_bits=params.eight_bits,
        keep_best=params.keep == "best",
        stop_probability=params.stop_probability,
        stop_plateau=params.stop_plateau,
        check_every=params.check_every,
    )


def build_parameterization(
    classifier: Classifier, params: ClassModelParameters, size: Size, magnitudes: Tensor | None = None
) -> Parameterization:
    """Chooses the parameterization of the image.

    Args:
        classifier: The network.
        params: Parameters of the request.
        size: Height and width of the image in pixels.
        magnitudes: Mean Fourier magnitudes (C, H, W // 2 + 1); needed for `maco`.

    Raises:
        ValueError: `maco` without magnitudes.
    """
    if params.image == "fourier":
        return Fourier(size)
    if params.image == "maco":
        if magnitudes is None:
            raise ValueError("image 'maco' needs the magnitudes of natural images")
        return Phases(size, magnitudes.to(classifier.device))
    if params.image == "bounded":
        return BoundedPixels()
    one = torch.ones_like(classifier.mean)
    units = {"one": one, "std": classifier.std, "level": one / 255}
    return Pixels(classifier.mean if params.origin == "mean" else one * 0, units[params.unit])


def _choose_start(
    classifier: Classifier, params: ClassModelParameters, size: Size, start_image: Tensor | None
) -> InitialImage:
    if params.start == "picture":
        if start_image is None:
            raise ValueError("start 'picture' needs start_image")
        return Given(fit(start_image[None], size))
    starts: dict[str, InitialImage] = {
        "zero": start_zero,
        "mean": Given(classifier.mean.cpu()[None]),
        "noise": Normal(params.start_scale),
        "uniform": Uniform(params.start_scale),
    }
    return starts[params.start]


def build_pixels(classifier: Classifier, unit: Literal["one", "std"]) -> Pixels:
    """Pixels relative to the network's mean; with unit `std` the parameters are the inputs of the network."""
    return Pixels(classifier.mean, classifier.std if unit == "std" else torch.ones_like(classifier.std))


def choose_optimizer(name: str, momentum: float) -> Callable[[Tensor], Optimizer]:
    """Chooses the function that starts an optimizer for given parameters."""
    starts: dict[str, Callable[[Tensor], Optimizer]] = {
        "adam": Adam.start,
        "nadam": NAdam.start,
        "sgd": partial(SGD.start, momentum=momentum),
        "rmsprop": RMSProp.start,
        "normalized": Normalized.start,
    }
    return starts[name]


def choose_transform(classifier: Classifier, params: ClassModelParameters) -> Transform:
    """Chooses the random transform between image and network."""
    if params.transforms and isinstance(params.transforms[0], components.Window):
        window = params.transforms[0]
        size = choose_view(classifier, window.resolution)
        return transforms.Window(size, window.scale, window.rotation)
    if params.transforms and isinstance(params.transforms[0], components.Box):
        box = params.transforms[0]
        # The request gives the noise in units of the network's inputs; images are smaller by a standard deviation.
        scale = box.noise * float(classifier.std.mean())
        return transforms.Compose(transforms.BoxCrop(classifier.size, box.side), transforms.Noise(scale))
    return transforms.Chain(classifier.size, tuple(_choose_step(step, classifier.size) for step in params.transforms))


def choose_view(classifier: Classifier, resolution: float) -> Size:
    """Chooses the size of a window: smaller than the network's input if the network accepts that and it is not tiny."""
    size = (round(classifier.size[0] * resolution), round(classifier.size[1] * resolution))
    return size if min(size) >= SMALLEST_VIEW and accepts_size(classifier, size) else classifier.size


def _choose_step(step: components.Transform, size: Size) -> transforms.TransformStep:
    match step:
        case components.Pad():
            return transforms.Pad(step.pixels, step.fill)
        case components.Jitter():
            return transforms.Jitter(step.pixels)
        case components.Crop():
            return transforms.Crop(size)
        case components.Scale():
            return transforms.Scale(tuple(step.factors))
        case components.Rotate():
            return transforms.Rotate(tuple(step.degrees))
    raise ValueError(f"transform {step.kind!r} is a whole transform; it cannot be one step of several")


def choose_objective(params: ClassModelParameters) -> objectives.Objective:
    """Builds the weighted sum that the ascent maximizes; a single term of weight one stays as it is."""
    terms = [(term.weight, _choose_term(term)) for term in params.objective]
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else objectives.WeightedSum(terms)


def _choose_term(term: components.Objective) -> objectives.Objective:
    match term:
        case components.Score():
            return objectives.ClassScore()
        case components.Probability():
            return objectives.ClassProbability()
        case components.ChannelMean():
            return objectives.Channel(term.layer, term.channel)
        case components.Neuron():
            return objectives.Neuron(term.layer, term.channel, term.row, term.column)


def choose_features(classifier: Classifier, params: ClassModelParameters) -> FeatureStatistics | None:
    """Builds the penalty on the features; None if the request has none, or the network has no batch norms."""
    norms = find_norm_statistics(classifier) if list_feature_statistics(params) else ()
    return FeatureStatistics(choose_small(norms)) if norms else None


def _choose_regularizer(prior: components.Penalty) -> penalties.Regularizer:
    match prior:
        case components.L1():
            chosen: penalties.Regularizer = penalties.l1
        case components.L2():
            chosen = penalties.l2
        case components.Lp():
            chosen = penalties.Lp(prior.p)
        case components.TotalVariation():
            chosen = penalties.TotalVariation(prior.beta)
    return penalties.PerPixel(chosen) if prior.per_pixel else chosen


def choose_schedule(schedule: components.Schedule | None, steps: int) -> Schedule:
    """Chooses how the step size changes over an ascent of this number of steps."""
    match schedule:
        case components.Staircase():
            return Staircase(schedule.every, schedule.factor)
        case components.Cosine():
            return Cosine(steps, schedule.warm_up)
    return constant
