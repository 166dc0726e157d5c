"""How to look, and how to cut out what was found: the parameters of `localization`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.parameters.fields import SHOWN, Shown
from shared.parameters.saliency import SaliencyParameters

Quantile = Annotated[float, Field(ge=0, le=1)]


class LocalizationParameters(SaliencyParameters):
    """How to look, and how to cut out what was found."""

    crops: Literal[1, 10] = Field(
        default=10, description="As in the paper: the mean map of four corners, the centre, and their reflections."
    )
    view: Shown = Field(default="whole", description=SHOWN)
    foreground: Quantile = Field(default=0.95, description="Above this quantile of the map a pixel is the object.")
    background: Quantile = Field(default=0.30, description="Below this one it is not.")
    probable: Quantile = Field(
        default=0.70, description="Between the two it is at first taken for the object above this."
    )
    blur: float = Field(default=3.0, ge=0, le=50, description="Of the map before, in pixels of 224.")
    iterations: int = Field(default=2, ge=1, le=50, description="Of the GraphCut.")
    side: int = Field(
        default=112, ge=32, le=1024, description="Longest side in pixels at which the picture is segmented."
    )

    @property
    def files(self) -> int:
        return len(self.outputs) + 3  # box, mask and JSON

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.background <= self.probable <= self.foreground:
            raise ValueError("the quantiles must rise from background over probable to foreground")
        return self
