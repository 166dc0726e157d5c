"""The V2 protocol of KServe: one tensor of images in, tensors of predictions and maps out."""

from collections.abc import Iterator, Sequence

import numpy as np

from api.services.describe_model import ModelView
from api.services.explain.explain_images import ExplainedImages
from api.services.explain.pixels import CHANNELS, decode_base64, encode_png
from archetype.contract.model import Preprocessing
from archetype.contract.problem import FieldError
from archetype.contract.protocols.explain import MAX_INSTANCES
from archetype.contract.protocols.open_inference import (
    InferenceRequest,
    InferenceResponse,
    InputTensor,
    ModelMetadata,
    OutputTensor,
    TensorMetadata,
)
from shared.errors import InvalidRequest

DATATYPES = {"class_index": "INT64", "class_name": "BYTES", "probability": "FP32", "map": "FP32"}
"""Datatype of each output, by its name."""


def read_tensor(tensor: InputTensor) -> list[bytes]:
    """Returns the image files of a tensor.

    Raises:
        InvalidRequest: Shape and data do not agree, there are too many images, or an element is no image.
    """
    try:
        if tensor.shape[0] > MAX_INSTANCES:
            raise ValueError(f"a request has at most {MAX_INSTANCES} images, not {tensor.shape[0]}")
        return list(_read_files(tensor) if tensor.datatype == "BYTES" else _read_pixels(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        field = FieldError(field="/inputs/0", detail=str(error), given=tensor.shape)
        raise InvalidRequest("the tensor has no images", field) from error


def _read_files(tensor: InputTensor) -> Iterator[bytes]:
    """The image files of a tensor of texts. Raises `ValueError` and `TypeError`."""
    texts = np.asarray(tensor.data, dtype=object).ravel().tolist()
    if tensor.shape not in ([len(texts)], [len(texts), 1]):
        raise ValueError(f"{len(texts)} texts have the shape ({len(texts)}) or ({len(texts)}, 1)")
    return (decode_base64(text) for text in texts)


def _read_pixels(tensor: InputTensor) -> Iterator[bytes]:
    """The images of a tensor of pixels, as files. Raises `ValueError`, `TypeError` and `OverflowError`."""
    values = np.asarray(tensor.data)
    if values.dtype.kind != "i":
        raise ValueError(f"pixels are integers from 0 to 255, not {values.dtype}")
    pixels = values.reshape(tensor.shape)
    if pixels.ndim == 4 and pixels.shape[3] not in CHANNELS and pixels.shape[1] in CHANNELS:
        pixels = pixels.transpose(0, 2, 3, 1)
    return (encode_png(image) for image in pixels)


def make_inference_response(explained: ExplainedImages, request: InferenceRequest) -> InferenceResponse:
    """Returns the tensors that a request wants."""
    wanted = [output.name for output in request.outputs] if request.outputs else list(DATATYPES)
    name, _, release = explained.job.model.partition("@")
    return InferenceResponse(
        model_name=name,
        model_version=release,
        id=request.id,
        parameters={"job": explained.job.id, "kind": request.parameters.kind},
        outputs=[_make_output(name, explained) for name in dict.fromkeys(wanted)],
    )


def _make_output(name: str, explained: ExplainedImages) -> OutputTensor:
    images = explained.images
    if name == "map":
        maps = [image.map for image in images]
        shape = [len(maps), len(maps[0]), len(maps[0][0])]
        return OutputTensor(name=name, datatype=DATATYPES[name], shape=shape, data=list(_flatten(maps)))
    field = name.removeprefix("class_")
    data = [getattr(image.prediction, field) for image in images]
    return OutputTensor(name=name, datatype=DATATYPES[name], shape=[len(data)], data=data)


def _flatten(maps: Sequence[list[list[float]]]) -> Iterator[float]:
    return (value for rows in maps for row in rows for value in row)


def describe_tensors(model: ModelView) -> ModelMetadata:
    """Returns a model with the tensors that its call `explain` takes and returns."""
    preprocessing = next(each.preprocessing for each in model.releases if each.release == model.release)
    return ModelMetadata(
        name=model.name,
        versions=[each.release for each in model.releases],
        platform="pytorch",
        inputs=[TensorMetadata(name="images", datatype="BYTES", shape=[-1])],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=_shape(name, preprocessing))
            for name, datatype in DATATYPES.items()
        ],
    )


def _shape(name: str, preprocessing: Preprocessing) -> list[int]:
    return [-1, *preprocessing.size] if name == "map" else [-1]
