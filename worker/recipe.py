"""From a request's parameters to the engine's words."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from shared.parameters import parts
from shared.parameters.class_model import ClassModelParameters
from worker.engine import objective, prior, transform
from worker.engine.ascent import Ascent, Slot
from worker.engine.backward import Gentle
from worker.engine.classifier import Classifier, takes
from worker.engine.image import BoundedPixels, Image, Pixels
from worker.engine.optimizer import SGD, Adam, NAdam, Normalized, Optimizer, RMSProp
from worker.engine.schedule import Cosine, Schedule, Staircase, constant
from worker.engine.spectrum import Fourier, Phases
from worker.engine.start import Given, Normal, Start, Uniform, start_zero
from worker.engine.transform import Size, Transform, fit

SMALLEST_VIEW = 96
"""Pixels: networks of small inputs are shown windows of all of it."""

TRY_SEED = 100_003
"""Between the seeds of two tries: more than there are classes, so that no two targets of a job share one."""


def plan_slots(params: ClassModelParameters, targets: Sequence[int]) -> list[Slot]:
    """A slot per target and seed, the tries of a target side by side."""
    weights = tuple(part.weight for part in params.priors if not isinstance(part, parts.Blur))
    return [
        Slot(target=target, seed=seed * TRY_SEED + target, rate=params.learning_rate, weights=weights)
        for target in targets
        for seed in params.seeds
    ]


def plan_ascents(
    classifier: Classifier, params: ClassModelParameters, *, picture: Tensor | None, magnitudes: Tensor | None
) -> list[Ascent]:
    """One ascent per octave, from the smallest canvas to the largest.

    Args:
        picture: Where to start (C, H, W), where the request says so.
        magnitudes: Of natural pictures (C, H, W // 2 + 1), for pictures that are written as phases.
    """
    canvas = choose_canvas(classifier.size, params)
    least = classifier.size if params.windowed else (8, 8)
    steps = share_steps(params.steps, params.octaves)
    ascents = []
    for octave, share in enumerate(steps):
        smaller = params.octave_scale ** (len(steps) - 1 - octave)
        size = (max(least[0], round(canvas[0] / smaller)), max(least[1], round(canvas[1] / smaller)))
        ascents.append(_plan_ascent(classifier, params, size, share, picture, magnitudes))
    return ascents


def share_steps(steps: int, octaves: int) -> list[int]:
    """Even shares, what is left over to the last; no octave without a step."""
    octaves = min(octaves, steps)
    return [steps // octaves] * (octaves - 1) + [steps - steps // octaves * (octaves - 1)]


def choose_canvas(size: Size, params: ClassModelParameters) -> Size:
    """Height and width of the pictures in pixels, for a network that takes `size`."""
    if params.canvas is not None:
        return params.canvas
    # An eighth more, as photographs are kept at 256 px for networks of 224: a window needs room to move in.
    return (round(size[0] * 8 / 7), round(size[1] * 8 / 7)) if params.windowed else size


def _plan_ascent(
    classifier: Classifier,
    params: ClassModelParameters,
    size: Size,
    steps: int,
    picture: Tensor | None,
    magnitudes: Tensor | None,
) -> Ascent:
    return Ascent(
        steps=steps,
        image=write_down(classifier, params, size, magnitudes),
        size=size,
        start=_choose_start(classifier, params, size, picture),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=choose_transform(classifier, params),
        views=params.views,
        gentle=Gentle(params.relu_leak, params.pool_spread),
        objective=choose_objective(params),
        priors=tuple(_choose_prior(part) for part in params.priors if not isinstance(part, parts.Blur)),
        schedule=choose_schedule(params.schedule, steps),
        blur=next(((part.every, part.radius) for part in params.priors if isinstance(part, parts.Blur)), (0, 0.0)),
        eight_bits=params.eight_bits,
        keep_best=params.keep == "best",
        stop_probability=params.stop_probability,
        stop_plateau=params.stop_plateau,
        look_every=params.look_every,
    )


def write_down(
    classifier: Classifier, params: ClassModelParameters, size: Size, magnitudes: Tensor | None = None
) -> Image:
    """How the request wants pictures to be written down."""
    if params.image == "fourier":
        return Fourier(size)
    if params.image == "maco":
        if magnitudes is None:
            raise ValueError("phases need magnitudes")
        return Phases(size, magnitudes.to(classifier.device))
    if params.image == "bounded":
        return BoundedPixels()
    one = torch.ones_like(classifier.mean)
    units = {"one": one, "std": classifier.std, "level": one / 255}
    return Pixels(classifier.mean if params.origin == "mean" else one * 0, units[params.unit])


def _choose_start(classifier: Classifier, params: ClassModelParameters, size: Size, picture: Tensor | None) -> Start:
    if params.start == "picture":
        if picture is None:
            raise ValueError("start 'picture' needs a picture")
        return Given(fit(picture[None], size))
    starts: dict[str, Start] = {
        "zero": start_zero,
        "mean": Given(classifier.mean.cpu()[None]),
        "noise": Normal(params.start_scale),
        "uniform": Uniform(params.start_scale),
    }
    return starts[params.start]


def write_pixels(classifier: Classifier, unit: Literal["one", "std"]) -> Pixels:
    """Pixels about the network's mean; in units of its standard deviation they are its inputs."""
    return Pixels(classifier.mean, classifier.std if unit == "std" else torch.ones_like(classifier.std))


def choose_optimizer(name: str, momentum: float) -> Callable[[Tensor], Optimizer]:
    """What begins the optimiser's memory for some parameters."""
    starts: dict[str, Callable[[Tensor], Optimizer]] = {
        "adam": Adam.start,
        "nadam": NAdam.start,
        "sgd": partial(SGD.start, momentum=momentum),
        "rmsprop": RMSProp.start,
        "normalized": Normalized.start,
    }
    return starts[name]


def choose_transform(classifier: Classifier, params: ClassModelParameters) -> Transform:
    """What the network is shown of a picture."""
    if params.transforms and isinstance(params.transforms[0], parts.Window):
        window = params.transforms[0]
        size = choose_view(classifier, window.resolution)
        return transform.Window(size, window.scale, window.rotation)
    if params.transforms and isinstance(params.transforms[0], parts.Box):
        box = params.transforms[0]
        # The noise is given in units of the inputs; pictures are a standard deviation smaller.
        scale = box.noise * float(classifier.std.mean())
        return transform.Both(transform.Box(classifier.size, box.side), transform.Noise(scale))
    return transform.Chain(classifier.size, tuple(_choose_part(part, classifier.size) for part in params.transforms))


def choose_view(classifier: Classifier, resolution: float) -> Size:
    """The size of a window: a part of the network's input, where it takes other sizes and has some to spare."""
    size = (round(classifier.size[0] * resolution), round(classifier.size[1] * resolution))
    return size if min(size) >= SMALLEST_VIEW and takes(classifier, size) else classifier.size


def _choose_part(part: parts.Transform, size: Size) -> transform.Part:
    match part:
        case parts.Pad():
            return transform.Pad(part.pixels, part.fill)
        case parts.Jitter():
            return transform.Jitter(part.pixels)
        case parts.Crop():
            return transform.Crop(size)
        case parts.Scale():
            return transform.Scale(tuple(part.factors))
        case parts.Rotate():
            return transform.Rotate(tuple(part.degrees))
    raise ValueError(f"transform {part.kind!r} is a whole view, not a part of one")


def choose_objective(params: ClassModelParameters) -> objective.Objective:
    """The sum that is maximised; a single term of weight one as it is."""
    terms = [(term.weight, _choose_term(term)) for term in params.objective]
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else objective.WeightedSum(terms)


def _choose_term(term: parts.Objective) -> objective.Objective:
    match term:
        case parts.Score():
            return objective.ClassScore()
        case parts.Probability():
            return objective.ClassProbability()
        case parts.ChannelMean():
            return objective.Channel(term.layer, term.channel)
        case parts.Neuron():
            return objective.Neuron(term.layer, term.channel, term.row, term.column)


def _choose_prior(part: parts.Prior) -> prior.Prior:
    match part:
        case parts.L1():
            chosen: prior.Prior = prior.l1
        case parts.L2():
            chosen = prior.l2
        case parts.Lp():
            chosen = prior.Lp(part.p)
        case parts.TotalVariation():
            chosen = prior.TotalVariation(part.beta)
        case parts.Blur():
            raise ValueError("a blur is no penalty")
    return prior.PerPixel(chosen) if part.per_pixel else chosen


def choose_schedule(wanted: parts.Schedule | None, steps: int) -> Schedule:
    """How the step size changes over so many steps."""
    match wanted:
        case parts.Staircase():
            return Staircase(wanted.every, wanted.factor)
        case parts.Cosine():
            return Cosine(steps, wanted.warm_up)
    return constant
