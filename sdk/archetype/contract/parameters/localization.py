"""Parameters of the method `localization`: the saliency map, and how an object is segmented from it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.parameters.types import VIEW_MODE, ViewMode

Quantile = Annotated[float, Field(ge=0, le=1)]


class LocalizationParameters(SaliencyParameters):
    """The saliency map and the GraphCut segmentation."""

    crops: Literal[1, 10] = Field(
        default=10,
        description="Number of crops that the map is averaged over: 1, or 10 (the four corners, the center, and their "
        "mirror images, as in Simonyan et al. 2013).",
    )
    view: ViewMode = Field(default="whole", description=VIEW_MODE)
    foreground: Quantile = Field(
        default=0.95,
        description="Quantile of the map, from 0 to 1, above which a pixel is fixed as foreground in GraphCut.",
    )
    background: Quantile = Field(
        default=0.30,
        description="Quantile of the map, from 0 to 1, below which a pixel is fixed as background in GraphCut.",
    )
    probable: Quantile = Field(
        default=0.70,
        description="Quantile of the map, from 0 to 1, above which a pixel that is not fixed starts as foreground in "
        "GraphCut.",
    )
    blur: float = Field(
        default=3.0,
        ge=0,
        le=50,
        description="Standard deviation of the blur of the map before GraphCut, in pixels of an image of 224 pixels.",
    )
    iterations: int = Field(default=2, ge=1, le=50, description="Number of GraphCut iterations.")
    side: int = Field(
        default=112, ge=32, le=1024, description="Longer side, in pixels, of the image that GraphCut segments."
    )

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return len(self.outputs) + 3  # box, mask and JSON

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.background <= self.probable <= self.foreground:
            raise ValueError("the quantiles must satisfy background <= probable <= foreground")
        return self
