"""Where to cover a picture: the parameters of `patches`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.parameters.fields import SHOWN, LookingParameters, Shown

MOST_SQUARES = 10_000

Pixels = Annotated[int, Field(ge=1, le=30_000)]


class PatchesParameters(LookingParameters):
    """The squares, and what is made of them."""

    square: Pixels | None = Field(
        default=None, description="Side in the picture's own pixels; without it, a third of the picture's shorter side."
    )
    stride: Pixels | None = Field(
        default=None, description="Pixels between two squares; without it, a fourth of the square."
    )
    fill: Literal["mean"] | Annotated[float, Field(ge=0, le=1)] = Field(
        default="mean", description="What covers: the mean of all of the picture's values, or a grey, 0 to 1."
    )
    count: int = Field(
        default=5, ge=1, le=100, description="How many patches are cut out, the one that matters most first."
    )
    rank: Literal["change", "fall"] = Field(
        default="change",
        description="By what patches are ranked: how much the probability changes, either way, or how much it falls.",
    )
    view: Shown = Field(default="whole", description=SHOWN)
    outputs: list[Literal["patches", "marked", "heat_map", "raw"]] = Field(
        default=["patches", "marked", "heat_map", "raw"], description="Which files each pair makes."
    )

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Square and stride for a picture of this size."""
        square = self.square or max(1, min(width, height) // 3)
        return square, self.stride or max(1, square // 4)

    def find_fault(self, width: int, height: int) -> tuple[str, str] | None:
        square, stride = self.sides(width, height)
        if square > min(width, height):
            return "square", f"a square of {square} pixels does not fit into a picture of {width} x {height}"
        if stride > square:
            return "stride", f"a stride of {stride} is larger than the square of {square}: pixels are never covered"
        squares = ((width - square) // stride + 1) * ((height - square) // stride + 1)
        if squares > MOST_SQUARES:
            return "stride", f"{squares} squares are more than the {MOST_SQUARES} of one picture of {width} x {height}"
        return None

    @property
    def files(self) -> int:
        return len(self.outputs) + (self.count - 1) * ("patches" in self.outputs)

    @model_validator(mode="after")
    def _are_given_together(self) -> Self:
        if self.stride is not None and self.square is not None and self.stride > self.square:
            raise ValueError("a stride larger than the square leaves pixels that are never covered")
        return self
