"""Keyword options of the client's calls that submit jobs: those of every job, and the parameters of each method.

The types mirror `archetype.contract.parameters`, which documents every parameter and checks its bounds. A component
(an objective, a transform, a regularizer, …) is given as a mapping: `{"kind": "total_variation", "weight": 1e-4}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from pydantic import BaseModel

from archetype.contract.job import Priority
from archetype.contract.parameters.presets.class_model import Preset
from archetype.contract.parameters.trigger import TriggerFamily

Component = Mapping[str, Any] | BaseModel


class JobOptions(TypedDict, total=False):
    """Options of every job.

    Attributes:
        priority: Interactive jobs run before bulk jobs.
        tags: Labels to find the job by.
        webhook: An https URL that receives a message when the job has finished.
        cancel_after: `90s`, `15m`, `1h30m`: the job is cancelled if it has not finished by then.
        idempotency_key: The same key and the same request return the same job for a day.
    """

    priority: Priority
    tags: Sequence[str]
    webhook: str | None
    cancel_after: str | None
    idempotency_key: str | None


class ClassModelOptions(JobOptions, total=False):
    """Options of `class_model`."""

    preset: Preset
    steps: int
    objective: Sequence[Component]
    optimizer: Literal["adam", "nadam", "sgd", "rmsprop"]
    learning_rate: float
    momentum: float
    schedule: Component | None
    image: Literal["fourier", "maco", "bounded", "pixels"]
    origin: Literal["mean", "black"]
    unit: Literal["one", "std", "level"]
    eight_bits: bool
    canvas: tuple[int, int] | None
    octaves: int
    octave_scale: float
    transforms: Sequence[Component]
    views: int
    relu_leak: float
    pool_spread: float
    start: Literal["zero", "mean", "noise", "uniform", "picture"]
    start_scale: float
    start_image: str | None
    regularizers: Sequence[Component]
    keep: Literal["last", "best"]
    stop_probability: float | None
    stop_plateau: int | None
    check_every: int
    seeds: Sequence[int]
    extras: bool | None
    frames: int
    stills_every: int | None
    judges: Sequence[str]


class SaliencyOptions(JobOptions, total=False):
    """Options of `saliency`."""

    kind: Literal[
        "gradient",
        "deconvnet",
        "guided",
        "gradient_x_input",
        "smoothgrad",
        "integrated_gradients",
        "grad_cam",
        "layer_cam",
        "score_cam",
        "occlusion",
        "rise",
        "kernel_shap",
    ]
    gradient: Literal["gradient", "deconvnet", "guided"]
    channels: Literal["max", "sum", "signed"]
    crops: Literal[1, 10]
    view: Literal["crop", "whole"]
    samples: int
    noise: float
    seed: int
    steps: int
    baseline: Literal["mean", "uniform"]
    layer: str | None
    square: int
    stride: int
    fill: float
    masks: int
    cells: int
    target_minus: int | str | None
    precision: Literal["float32", "bfloat16"]
    outputs: Sequence[Literal["heat_map", "overlay", "figure", "raw"]]
    color_limit: float | None
    metrics: Sequence[Literal["deletion", "insertion", "pointing", "randomization"]]


class LocalizationOptions(SaliencyOptions, total=False):
    """Options of `localization`."""

    foreground: float
    background: float
    probable: float
    blur: float
    iterations: int
    side: int


class PatchesOptions(JobOptions, total=False):
    """Options of `patches`."""

    square: int | None
    stride: int | None
    fill: Literal["mean"] | float
    count: int
    rank: Literal["change", "fall"]
    view: Literal["crop", "whole"]
    outputs: Sequence[Literal["patches", "marked", "heat_map", "raw"]]


class AscentOptions(JobOptions, total=False):
    """Options that `fool`, `feature_inversion` and `deep_dream` share."""

    preset: Literal["default", "timm_vis"]
    momentum: float
    schedule: Component | None
    seed: int
    extras: bool | None
    frames: int
    steps: int
    optimizer: Literal["adam", "nadam", "sgd", "rmsprop", "normalized"]
    learning_rate: float


class FoolOptions(AscentOptions, total=False):
    """Options of `fool`."""

    objective: Literal["score", "log_probability"]
    unit: Literal["one", "std"]
    clip: bool
    min_prob: float
    constraint: Component | None
    noise: float
    check_every: int
    amplify: float | None


class FeatureInversionOptions(AscentOptions, total=False):
    """Options of `feature_inversion`."""

    layers: Sequence[str]
    image: Literal["fourier", "pixels"]
    distance: Literal["relative", "squared"]
    total_variation: float
    alpha_norm: Component | None
    start_scale: float
    view: Literal["crop", "whole"]


class DeepDreamOptions(AscentOptions, total=False):
    """Options of `deep_dream`."""

    objective: Component
    unit: Literal["one", "std"]
    clip: bool
    octaves: int
    octave_scale: float
    jitter: int
    side: int | None


class TriggerOptions(JobOptions, total=False):
    """Options of `trigger`."""

    families: Sequence[TriggerFamily]
    steps: int
    fine_steps: int
    suspicious: int
    carriers: int
    seeds: Sequence[int]


class ActivationsOptions(JobOptions, total=False):
    """Options of `activations`."""

    layers: Sequence[str]
    channels: Literal["first", "strongest", "random"] | Sequence[int]
    count: int
    scale: Literal["each", "all"]
    view: Literal["crop", "whole"]
    outputs: Sequence[Literal["tiles", "raw"]]
    seed: int


class FiltersOptions(JobOptions, total=False):
    """Options of `filters`."""

    layer: str | None
    filters: Literal["first", "random"] | Sequence[int]
    inputs: Literal["strongest", "all"]
    count: int
    side: int
    seed: int
