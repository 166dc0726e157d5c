"""Which filters to draw: the parameters of `filters`."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.parameters.fields import LayerName, NamedLayer, Parameters, Seed

MOST_TILES = 1024
MOST_PIXELS = 20_000_000
"""Of all tiles of a sheet."""

Chosen = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_TILES)]


class FiltersParameters(Parameters):
    """Which filters of which convolution, and how they are drawn."""

    layer: LayerName | None = Field(default=None, description="A convolution; without it, the first.")
    filters: Literal["first", "random"] | Chosen = Field(
        default="first", description="The first ones, some at random, or those of these numbers."
    )
    inputs: Literal["strongest", "all"] = Field(
        default="strongest",
        description="A tile per filter, in colour where it has three inputs, else of the input that it weighs most; "
        "or `all`: a grey tile per filter and input, as timm-vis draws them.",
    )
    count: int = Field(default=64, ge=1, le=MOST_TILES, description="At most so many tiles.")
    side: int = Field(default=128, ge=8, le=512, description="Of a tile in pixels.")
    seed: Seed = Field(default=0, description="Of the choice at random.")

    @model_validator(mode="after")
    def _fits_on_a_sheet(self) -> Self:
        count = len(self.filters) if isinstance(self.filters, list) else self.count
        if min(count, self.count) * self.side**2 > MOST_PIXELS:
            raise ValueError(f"count tiles of side pixels make more than {MOST_PIXELS} pixels; give less of one")
        return self

    def named_layers(self) -> Iterator[NamedLayer]:
        if self.layer is not None:
            largest = max(self.filters) if isinstance(self.filters, list) else None
            yield NamedLayer("layer", self.layer, largest, "filters")
