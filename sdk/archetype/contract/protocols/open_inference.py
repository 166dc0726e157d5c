"""The Open Inference Protocol, called V2 by KServe: tensors in, tensors out.

KServe, "Open Inference Protocol", https://github.com/kserve/open-inference-protocol. The protocol has no call that
explains; `POST /v2/models/{model}/explain` takes and returns what its call `infer` does.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from archetype.contract.job import Document
from archetype.contract.parameters.saliency import SaliencyParameters

Dimension = Annotated[int, Field(ge=1, le=1_000_000)]


class InputTensor(Document):
    """The images of a request, as one tensor."""

    name: str = Field(description="Any name.")
    datatype: Literal["BYTES", "UINT8"] = Field(
        description="`BYTES`: image files in base64. `UINT8`: pixels from 0 to 255."
    )
    shape: Annotated[list[Dimension], Field(min_length=1, max_length=4)] = Field(
        description="`BYTES`: (N) or (N, 1). `UINT8`: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels."
    )
    data: list[Any] = Field(description="The elements in row-major order, flat or as nested lists.")
    parameters: dict[str, Any] = Field(default={}, description="Ignored.")


class RequestedOutput(Document):
    """An output that the client wants."""

    name: Literal["class_index", "class_name", "probability", "map"]


class InferenceRequest(Document):
    """Body of `POST /v2/models/{model}/explain`. Fields that are not listed are ignored, as the protocol wants."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str | None = Field(default=None, max_length=200, description="Returned in the response.")
    parameters: SaliencyParameters = Field(
        default=SaliencyParameters(), description="Parameters of the method `saliency`, such as `kind`."
    )
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)] = Field(description="One tensor of images.")
    outputs: list[RequestedOutput] | None = Field(default=None, description="Wanted outputs; without it, all.")


class OutputTensor(Document):
    """A tensor of a response."""

    name: str = Field(
        description="`class_index`, `class_name`, `probability`: the prediction. `map`: its saliency map."
    )
    datatype: str
    shape: list[int] = Field(description="(N), and (N, h, w) for `map`: the pixels of the view that the network sees.")
    data: list[Any] = Field(description="The elements in row-major order.")


class InferenceResponse(Document):
    """The predicted class of each image, and its saliency map."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_name: str
    model_version: str = Field(description="The release.")
    id: str | None = Field(description="The id of the request.")
    parameters: dict[str, Any] = Field(description="`job`: id of the job. `kind`: kind of the map.")
    outputs: list[OutputTensor]


class TensorMetadata(Document):
    """An input or output of a model."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1: any size.")


class ModelMetadata(Document):
    """A model, as the Open Inference Protocol describes it."""

    name: str
    versions: list[str] = Field(description="Its releases, oldest first.")
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(Document):
    """Whether the server is alive."""

    live: bool


class Ready(Document):
    """Whether the server or a model can be used."""

    ready: bool
    name: str | None = Field(default=None, description="The model.")
