"""Parameters of the method `saliency`: which saliency map to compute."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from archetype.contract.parameters.inputs import Target
from archetype.contract.parameters.types import VIEW_MODE, ImageParameters, LayerName, NamedLayer, Seed, ViewMode

Gradient = Literal["gradient", "deconvnet", "guided"]
Kind = Literal[
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
Output = Literal["heat_map", "overlay", "figure", "raw"]
Metric = Literal["deletion", "insertion", "pointing", "randomization"]

BATCH_PARAMETERS = frozenset(
    {
        "kind",
        "gradient",
        "channels",
        "crops",
        "view",
        "samples",
        "noise",
        "seed",
        "steps",
        "baseline",
        "layer",
        "square",
        "stride",
        "fill",
        "masks",
        "cells",
        "target_minus",
        "precision",
    }
)
"""Parameters that must be equal for the maps of two jobs to be computed in one batch."""

KINDS_OF_LAYERS = ("grad_cam", "layer_cam", "score_cam")
"""Kinds that read the features of a layer."""

KINDS_OF_MASKS = ("rise", "kernel_shap")
"""Kinds that cover random parts of the image."""

KINDS_WITHOUT_GRADIENT = ("score_cam", "occlusion", "rise", "kernel_shap")
"""Kinds that only run the network forwards."""

KINDS_WITH_GRADIENTS = ("gradient_x_input", "smoothgrad", "integrated_gradients")


class SaliencyParameters(ImageParameters):
    """The kind of saliency map, its options, and the files to save."""

    ADDED: ClassVar[frozenset[str]] = frozenset({"baseline", "masks", "cells", "target_minus", "color_limit"})
    RENAMED: ClassVar[Mapping[str, str]] = {"slope": "gradient", "measures": "metrics"}
    APPLIES: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "gradient": ("kind", KINDS_WITH_GRADIENTS),
        **dict.fromkeys(("samples", "noise"), ("kind", ("smoothgrad",))),
        "seed": ("kind", ("smoothgrad", "integrated_gradients", *KINDS_OF_MASKS)),
        **dict.fromkeys(("steps", "baseline"), ("kind", ("integrated_gradients",))),
        "layer": ("kind", KINDS_OF_LAYERS),
        **dict.fromkeys(("square", "stride"), ("kind", ("occlusion",))),
        "fill": ("kind", ("occlusion", "kernel_shap")),
        **dict.fromkeys(("masks", "cells"), ("kind", KINDS_OF_MASKS)),
    }

    kind: Kind = Field(
        default="gradient",
        description="Attribution method: the `gradient` of the class score (Simonyan et al. 2013); `deconvnet` or "
        "`guided` backpropagation, which change the gradient at ReLUs; `gradient_x_input`, the gradient times the "
        "input; `smoothgrad`, the mean gradient of noisy copies; `integrated_gradients`, the gradients integrated from "
        "a baseline to the image; `grad_cam`, feature maps of a layer, each with a weight; `layer_cam`, the same with "
        "a weight for each place; `score_cam`, the same with weights from the scores of the parts that a feature map "
        "shows; `occlusion`, the fall of the score when a square covers a part of the image; `rise`, the mean "
        "probability of the class while a pixel is shown by random masks; `kernel_shap`, the share of each cell of a "
        "grid in the score (Shapley values).",
    )
    gradient: Gradient = Field(
        default="gradient",
        description="Backpropagation rule that `gradient_x_input`, `smoothgrad` and `integrated_gradients` use.",
    )
    channels: Literal["max", "sum", "signed"] = Field(
        default="max",
        description="How color channels are reduced to one map: the `max` or the `sum` of the absolute values, or the "
        "sum of the `signed` values.",
    )
    crops: Literal[1, 10] = Field(
        default=1,
        description="Number of crops that the map is averaged over: 1, or 10 (the four corners, the center, and their "
        "mirror images, as in Simonyan et al. 2013), taken from a view that is an eighth larger.",
    )
    view: ViewMode = Field(default="crop", description=VIEW_MODE)
    samples: int = Field(default=24, ge=1, le=500, description="Number of noisy copies for `smoothgrad`.")
    noise: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="Standard deviation of the noise for `smoothgrad`, in normalized input units.",
    )
    seed: Seed = Field(
        default=0,
        description="Random seed of the noise for `smoothgrad`, of the baselines for `integrated_gradients`, and of "
        "the masks for `rise` and `kernel_shap`.",
    )
    steps: int = Field(default=32, ge=2, le=500, description="Number of points on the path for `integrated_gradients`.")
    baseline: Literal["mean", "uniform"] = Field(
        default="mean",
        description="Where the path of `integrated_gradients` begins: at the `mean` color, or at images of `uniform` "
        "noise, a new one for each point.",
    )
    layer: LayerName | None = Field(
        default=None,
        description="Name of the layer for `grad_cam`, `layer_cam` and `score_cam`; if null, the last layer with "
        "spatial features.",
    )
    square: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Side length of the covering square for `occlusion`, in pixels of the network's input.",
    )
    stride: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Distance between neighboring squares for `occlusion`, in pixels of the network's input.",
    )
    fill: float = Field(
        default=0.0,
        ge=-10,
        le=10,
        description="Value of covered pixels for `occlusion` and `kernel_shap`, in normalized input units; 0 is the "
        "mean color.",
    )
    masks: int = Field(
        default=1000,
        ge=2,
        le=20_000,
        description="Number of masked images for `rise` and `kernel_shap`. More give less noise and take longer.",
    )
    cells: int = Field(
        default=7, ge=2, le=32, description="Number of cells of the masks of `rise` and `kernel_shap` along each axis."
    )
    target_minus: Target | None = Field(
        default=None,
        description="Class whose score is subtracted: the map shows what speaks for the target rather than for this "
        "class. An index or a name.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Floating-point format of the network. `bfloat16` is faster on some devices; the job's metrics "
        "show how well its maps agree with `float32`.",
    )
    outputs: list[Output] = Field(
        default=["heat_map", "overlay", "raw"],
        max_length=16,
        description="Files to save for each map: a `heat_map`, an `overlay` on the image, a `figure` of image, map and "
        "overlay with a color bar, and the `raw` values (NPZ).",
    )
    color_limit: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="Magnitude with the brightest color, the same for all maps of the job, so that they can be "
        "compared; if null, the 99 % quantile of each map. The metrics of a pair give its unit (`scale`).",
    )
    metrics: list[Metric] = Field(
        default=[],
        max_length=16,
        description="Quality metrics of the maps: `deletion` and `insertion` (area under the curve of the target's "
        "probability while the highest-ranked pixels are deleted, where low is good, or inserted, where high is good), "
        "`pointing` (whether the maximum lies in a true box), and `randomization` (rank correlation with the map of "
        "the network with shuffled weights, where near 0 is good).",
    )

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        if self.layer is not None:
            yield NamedLayer("layer", self.layer)

    @property
    def shape(self) -> dict[str, Any] | None:
        """The parameters that two jobs must have in common to share a batch; None with metrics."""
        return None if self.metrics else self.model_dump(mode="json", include=set(BATCH_PARAMETERS))

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return len(self.outputs)

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.gradient != "gradient" and self.kind not in KINDS_WITH_GRADIENTS:
            raise ValueError(f"gradient applies only to the kinds {', '.join(KINDS_WITH_GRADIENTS)}")
        if self.layer is not None and self.kind not in KINDS_OF_LAYERS:
            raise ValueError(f"layer applies only to the kinds {', '.join(KINDS_OF_LAYERS)}")
        if self.baseline != "mean" and self.kind != "integrated_gradients":
            raise ValueError("baseline applies only to the kind integrated_gradients")
        if self.target_minus is not None and self.kind == "rise":
            raise ValueError("target_minus does not apply to rise, which weights masks by the probability of one class")
        if self.stride > self.square:
            raise ValueError("a stride larger than the square leaves some pixels uncovered")
        return self
