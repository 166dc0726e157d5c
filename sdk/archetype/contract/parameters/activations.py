"""Parameters of the method `activations`: which feature maps to show."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from archetype.contract.parameters.types import VIEW_MODE, ImageParameters, Layers, NamedLayer, Seed, ViewMode

Channels = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=1024)]


class ActivationsParameters(ImageParameters):
    """The layers, their channels, and how feature maps are drawn."""

    layers: Layers = Field(
        default=[],
        max_length=16,
        description="Names of the layers to show; if empty, the last layer with spatial features.",
    )
    channels: Literal["first", "strongest", "random"] | Channels = Field(
        default="strongest",
        description="Channels to show: the `first` ones, those with the largest mean activation (`strongest`, sorted), "
        "a `random` choice, or a list of channel indices.",
    )
    count: int = Field(default=64, ge=1, le=1024, description="Largest number of channels to show per layer.")
    scale: Literal["each", "all"] = Field(
        default="each",
        description="Value range that is drawn from black to white: the range of `each` map, or the common range of "
        "`all` maps of the layer.",
    )
    view: ViewMode = Field(default="crop", description=VIEW_MODE)
    outputs: list[Literal["tiles", "raw"]] = Field(
        default=["tiles", "raw"],
        max_length=16,
        description="Files to save per image and layer: `tiles` (PNG with one tile per channel) and `raw` (NPZ with "
        "the values).",
    )
    seed: Seed = Field(default=0, description="Random seed of the `random` choice of channels.")

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        largest = max(self.channels) if isinstance(self.channels, list) else None
        for position, layer in enumerate(self.layers):
            yield NamedLayer(f"layers/{position}", layer, largest, "channels")

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return len(self.outputs) * max(1, len(self.layers))
