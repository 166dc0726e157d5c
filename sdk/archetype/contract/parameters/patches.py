"""Parameters of the method `patches`: the squares that cover an image, and the results."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from archetype.contract.parameters.types import VIEW_MODE, ImageParameters, ViewMode

MAX_SQUARES = 10_000

Pixels = Annotated[int, Field(ge=1, le=30_000)]


class PatchesParameters(ImageParameters):
    """The squares that cover an image, and the files to save."""

    square: Pixels | None = Field(
        default=None,
        description="Side length of the covering square, in pixels of the original image; if null, a third of the "
        "image's shorter side.",
    )
    stride: Pixels | None = Field(
        default=None,
        description="Distance between neighboring squares, in pixels of the original image; if null, a quarter of the "
        "square.",
    )
    fill: Literal["mean"] | Annotated[float, Field(ge=0, le=1)] = Field(
        default="mean",
        description="Color of the covering square: the `mean` of all pixel values of the image, or a gray value from "
        "0 (black) to 1 (white).",
    )
    count: int = Field(
        default=5, ge=1, le=100, description="Number of patches to cut out, starting with the most important one."
    )
    rank: Literal["change", "fall"] = Field(
        default="change",
        description="How patches are ranked: by the absolute `change` of the target's probability, or by its `fall`.",
    )
    view: ViewMode = Field(default="whole", description=VIEW_MODE)
    outputs: list[Literal["patches", "marked", "heat_map", "raw"]] = Field(
        default=["patches", "marked", "heat_map", "raw"],
        max_length=16,
        description="Files to save for each image and target: the cut-out `patches`, the image with the patches "
        "`marked`, a `heat_map` of the change, and the `raw` values (NPZ).",
    )

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Side length of the square and stride in pixels, for an image of this size in pixels."""
        square = self.square or max(1, min(width, height) // 3)
        return square, self.stride or max(1, square // 4)

    def find_fault(self, width: int, height: int) -> tuple[str, str] | None:
        """The parameter that does not fit an image of this size and a message, or None if all fit."""
        square, stride = self.sides(width, height)
        if square > min(width, height):
            return "square", f"a square of {square} pixels does not fit into an image of {width} x {height} pixels"
        if stride > square:
            return "stride", f"a stride of {stride} is larger than the square of {square}: some pixels stay uncovered"
        squares = ((width - square) // stride + 1) * ((height - square) // stride + 1)
        if squares > MAX_SQUARES:
            detail = f"an image of {width} x {height} pixels would need {squares} squares; at most {MAX_SQUARES}"
            return "stride", f"{detail} are allowed, so give a larger stride"
        return None

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return len(self.outputs) + (self.count - 1) * ("patches" in self.outputs)

    @model_validator(mode="after")
    def _check_stride(self) -> Self:
        if self.stride is not None and self.square is not None and self.stride > self.square:
            raise ValueError("a stride larger than the square leaves some pixels uncovered")
        return self
