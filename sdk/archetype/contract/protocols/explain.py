"""The explain protocol of KServe, version 1: `instances` in, `predictions` and `explanations` out.

KServe, "V1 Protocol", https://kserve.github.io/website: `POST /v1/models/{model}:explain`.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from archetype.contract.job import Document, TargetClass
from archetype.contract.parameters.saliency import SaliencyParameters

MAX_INSTANCES = 16

WRAPPERS = ("image", "image_bytes")
"""Names of fields that clients put around the encoded image."""


class EncodedImage(BaseModel):
    """An image file in base64."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    b64: Annotated[str, StringConstraints(min_length=1, max_length=14_000_000)] = Field(
        description="The bytes of an image file, such as JPEG or PNG, in base64."
    )

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """Reads `{"image": {"b64": "…"}}` and `{"image_bytes": {"b64": "…"}}`, which clients send."""
        for name in WRAPPERS:
            if isinstance(value, dict) and isinstance(value.get(name), dict):
                return value[name]
        return value


Pixels = list[list[int] | list[list[int]]]
"""Rows of pixels, 0 to 255: gray values, or one to four values per pixel."""


class ExplainRequest(Document):
    """Body of `POST /v1/models/{model}:explain`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instances: Annotated[list[EncodedImage | Pixels], Field(min_length=1, max_length=MAX_INSTANCES)] = Field(
        description='Images: `{"b64": …}`, the same in `image` or `image_bytes`, or rows of pixels from 0 to 255.'
    )
    parameters: SaliencyParameters = Field(
        default=SaliencyParameters(), description="Parameters of the method `saliency`, such as `kind`."
    )


class Prediction(Document):
    """What the network predicts for an instance."""

    index: int = Field(description="Index of the predicted class.")
    name: str = Field(description="Its name.")
    probability: float = Field(description="Its probability.")


class Explanation(Document):
    """The saliency map of the predicted class of an instance."""

    target: TargetClass = Field(description="The class that is explained: the predicted one.")
    kind: str = Field(description="Kind of the map.")
    map: list[list[float]] = Field(
        description="The map in the pixels of the view that the network sees: how much the score of the class depends "
        "on each, in the unit of the kind."
    )


class ExplainResponse(Document):
    """Predictions and explanations, in the order of the instances."""

    predictions: list[Prediction]
    explanations: list[Explanation]
    job: str = Field(description="Id of the job that computed them, with all its files.")
