"""Models: preprocessing, layers, and the fields of a release."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from archetype.contract.job import Document

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Side = Annotated[int, Field(ge=8, le=2048)]

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Preprocessing(BaseModel):
    """How an image becomes an input of the network; it must be the preprocessing of the network's training."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: tuple[Side, Side] = Field(
        default=(224, 224), description="Height and width of the network's input in pixels."
    )
    resize: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Length in pixels to which the shorter side is resized before the center crop; if null, the "
        "smallest length that the crop fits into. An image is enlarged further if the crop is wider or higher than it.",
    )
    fit: Literal["crop", "stretch", "stretch_crop"] = Field(
        default="crop",
        description="How an image is brought to the input size: `crop` resizes it and cuts out the center, `stretch` "
        "resizes the whole image without keeping its aspect ratio, `stretch_crop` does so to the length `resize` and "
        "cuts out the center.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        default="bilinear", description="Interpolation that is used to resize images."
    )
    channels: int = Field(default=3, ge=1, le=16, description="Number of channels of the input.")
    channel_order: Literal["RGB", "BGR"] = Field(
        default="RGB",
        description="Order of the network's three color channels; `mean` and `std` have the same order. Images are RGB "
        "everywhere else: uploads, results and previews.",
    )
    range: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="Values of black and white before the normalization with `mean` and `std`; some networks use "
        "(0, 255). NumPy arrays and TIFF images of floats are in these units; images of 16 bits too, if the range is "
        "wider than 255.",
    )
    mean: list[float] = Field(
        default=IMAGENET_MEAN,
        max_length=16,
        description="Mean of each channel, in units of `range`; if empty, the input is not normalized.",
    )
    std: list[Annotated[float, Field(gt=0)]] = Field(
        default=IMAGENET_STD,
        max_length=16,
        description="Standard deviation of each channel, in units of `range`; empty if `mean` is empty.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, fields: Any) -> Any:
        """Derives `channels` from `mean` if it is missing; replaces an empty `mean` and `std` by zeros and ones."""
        if not isinstance(fields, dict):
            return fields
        mean, std = fields.get("mean"), fields.get("std")
        channels = fields.get("channels", len(mean) if isinstance(mean, list) and mean else 3)
        if mean == [] and std in (None, []) and isinstance(channels, int) and 1 <= channels <= 16:
            return {**fields, "channels": channels, "mean": [0.0] * channels, "std": [1.0] * channels}
        return {**fields, "channels": channels}

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                "mean and std need one value for each channel of the input; give mean = [] for no normalization"
            )
        if self.channel_order == "BGR" and self.channels != 3:
            raise ValueError("only an input of three channels can be BGR")
        if self.range[0] >= self.range[1]:
            raise ValueError("range must be [black, white] with black less than white")
        return self

    @property
    def levels_mean(self) -> list[float]:
        """Mean of each channel of an image, in RGB, with values from 0 to 1."""
        low, high = self.range
        return [(value - low) / (high - low) for value in self._order(self.mean)]

    @property
    def levels_std(self) -> list[float]:
        """Standard deviation of each channel of an image, in RGB, with values from 0 to 1."""
        return [value / (self.range[1] - self.range[0]) for value in self._order(self.std)]

    def _order(self, values: list[float]) -> list[float]:
        """Values of the network's channels in the order of an image's channels."""
        return values[::-1] if self.channel_order == "BGR" else values


OutputKind = Literal["softmax_logits", "sigmoid_logits", "one_logit", "probabilities", "log_probabilities"]


class Output(BaseModel):
    """What the network returns, and where its class scores are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["detect"] | OutputKind = Field(
        default="detect",
        description="Meaning of the numbers that the network returns: `softmax_logits` (one class per image), "
        "`sigmoid_logits` (each class by itself), `one_logit` (two classes, of which the second is the positive one), "
        "`probabilities` or `log_probabilities`. `detect` recognizes a final softmax, sigmoid or logarithm, and takes "
        "other numbers for `softmax_logits`.",
    )
    select: Annotated[int, Field(ge=0, le=99)] | Annotated[str, Field(max_length=100)] | None = Field(
        default=None,
        description="Which output has the scores, if the network returns several: an index in a tuple or list, or a "
        "key. If null, it is `logits`, else the only one with a number for each class, else the first.",
    )


class ReleaseFields(BaseModel):
    """Fields that a registration and a catalogue entry have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Name of the model.", examples=["fruit"])
    release: Name = Field(default="1", description="Name of the release.", examples=["2026-11-21"])
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the architecture.")
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Key of the weights in the S3 bucket; the operator must allow its prefix.",
    )
    published: bool | str = Field(
        default=False,
        description="Whether to use the weights that the library publishes; or the name of published torchvision "
        "weights; or, with the architecture `huggingface`, a public repository of the hub at a commit, "
        "`OWNER/NAME@COMMIT`.",
    )
    sha256: Digest | None = Field(
        default=None, description="SHA-256 digest of the weights, which is verified; if null, it is not."
    )
    state_dict: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="Which weights of the file to load if it contains several state dicts: the key of one, such as "
        "`model_ema`, with dots between nested keys. If null, the one that fits the network, and raw weights rather "
        "than averaged ones (EMA).",
    )
    preprocessing: Preprocessing = Field(
        default=Preprocessing(), description="How images become inputs of the network."
    )
    score_layer: str | None = Field(
        default=None,
        description="Name of the layer that outputs the class scores; if null, they are read from the network's "
        "output.",
    )
    output: Output = Field(default=Output(), description="What the network returns, and where its class scores are.")

    @property
    def reference(self) -> str:
        """`name@release`."""
        return f"{self.name}@{self.release}"


class Layer(Document):
    """A named layer of a network."""

    name: str = Field(description="Name of the layer.")
    kind: str = Field(description="Class of the layer in PyTorch.", examples=["Conv2d"])
    shape: list[int] | None = Field(
        default=None, description="Shape of the layer's output for one image, without the batch dimension."
    )
    channels: int | None = Field(
        default=None,
        description="Number of channels of the layer's output; null if the output has no batch dimension.",
    )
    filters: int | None = Field(default=None, description="Number of filters of a convolution; null for other layers.")


class Capability(Document):
    """Whether a method, or one kind of a method, works with a network."""

    method: str = Field(description="Name of the method.", examples=["saliency"])
    kind: str | None = Field(default=None, description="Kind of the method; null for all of it.", examples=["guided"])
    available: bool = Field(description="Whether jobs of this method and kind work.")
    reason: str | None = Field(default=None, description="Why not; null if available.")


class Description(Document):
    """Properties of a release, as a worker found them when it loaded the network."""

    sha256: str = Field(description="SHA-256 digest of the weights.")
    tensors: str | None = Field(
        default=None,
        description="SHA-256 digest of the names, types, shapes and values of all weights after loading. Files with "
        "equal weights have the same one. Null if it was not computed yet, or cannot be.",
    )
    parameters: int = Field(description="Number of parameters of the network.")
    layers: list[Layer] = Field(description="Layers of the network, in the order of its modules.")
    output: OutputKind | None = Field(
        default=None, description="What the network returns, as declared or detected; null if it was not tried yet."
    )
    capabilities: list[Capability] | None = Field(
        default=None, description="What jobs can do with the network; null if it was not tried yet."
    )
    notes: list[str] = Field(
        default=[], description="What was assumed or noticed when the network was loaded and tried, in sentences."
    )
    plans: dict[str, dict[str, Any]] = Field(
        default={}, description="Measured execution plans, by network, input size and device."
    )
