"""Which features to draw: the parameters of `activations`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shared.parameters.fields import SHOWN, Layers, LookingParameters, NamedLayer, Seed, Shown

Chosen = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=1024)]


class ActivationsParameters(LookingParameters):
    """Which channels of which layers, and how they are drawn."""

    layers: Layers = Field(
        default=[], max_length=16, description="Any layers; without one, the last whose features have places."
    )
    channels: Literal["first", "strongest", "random"] | Chosen = Field(
        default="strongest",
        description="The first ones, those of the largest mean activation, largest first, some at random, or those of "
        "these numbers.",
    )
    count: int = Field(default=64, ge=1, le=1024, description="At most so many channels.")
    scale: Literal["each", "all"] = Field(
        default="each", description="What is black and white: of `each` map its own least and most, or those of `all`."
    )
    view: Shown = Field(default="crop", description=SHOWN)
    outputs: list[Literal["tiles", "raw"]] = Field(default=["tiles", "raw"], description="Which files there are.")
    seed: Seed = Field(default=0, description="Of the choice at random.")

    def named_layers(self) -> Iterator[NamedLayer]:
        largest = max(self.channels) if isinstance(self.channels, list) else None
        for position, layer in enumerate(self.layers):
            yield NamedLayer(f"layers/{position}", layer, largest, "channels")

    @property
    def files(self) -> int:
        return len(self.outputs) * max(1, len(self.layers))
