"""Parameters of the method `filters`: which filters of a convolution to draw."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from archetype.contract.parameters.types import LayerName, NamedLayer, Parameters, Seed

MAX_TILES = 1024
MAX_PIXELS = 20_000_000
"""Largest number of pixels in all tiles of one contact sheet."""

FilterIndices = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MAX_TILES)]


class FiltersParameters(Parameters):
    """The convolution, its filters, and how they are drawn."""

    layer: LayerName | None = Field(
        default=None, description="Name of a convolution layer; if null, the first convolution of the network."
    )
    filters: Literal["first", "random"] | FilterIndices = Field(
        default="first", description="Filters to draw: the `first` ones, a `random` choice, or a list of indices."
    )
    inputs: Literal["strongest", "all"] = Field(
        default="strongest",
        description="Input channels to draw. `strongest`: one tile per filter, in color if the filter has three input "
        "channels, otherwise of the input channel with the largest weights. `all`: one gray tile per filter and input "
        "channel, as in timm-vis.",
    )
    count: int = Field(default=64, ge=1, le=MAX_TILES, description="Largest number of tiles.")
    side: int = Field(default=128, ge=8, le=512, description="Side length of a tile in pixels.")
    seed: Seed = Field(default=0, description="Random seed of the `random` choice of filters.")

    @model_validator(mode="after")
    def _check_sheet_size(self) -> Self:
        count = len(self.filters) if isinstance(self.filters, list) else self.count
        if min(count, self.count) * self.side**2 > MAX_PIXELS:
            raise ValueError(
                f"count tiles of side x side pixels are more than {MAX_PIXELS} pixels; give a smaller count or side"
            )
        return self

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        if self.layer is not None:
            largest = max(self.filters) if isinstance(self.filters, list) else None
            yield NamedLayer("layer", self.layer, largest, "filters")
