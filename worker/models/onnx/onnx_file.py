"""Reads an ONNX file, and finds its image input."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx.inliner import inline_local_functions
from torch import Tensor

from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from worker.models.architectures import unloadable
from worker.models.onnx.archive import UnreadableOnnx, read_model

FLOAT_INPUTS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
WHOLE_INPUTS = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64}

DOMAINS = ("", "ai.onnx")
"""Names of the domain of the operators that ONNX defines."""


@dataclass(frozen=True)
class OnnxFile:
    """A network in an ONNX file.

    Attributes:
        model: The content of the file; functions are inlined.
        name: Name of the image input.
        kind: Type of its values, a number of `onnx.TensorProto`.
        batch: Number of images that it takes; None if that is free.
        channels_last: Whether its axes are images, height, width and channels.
    """

    model: onnx.ModelProto
    name: str
    kind: int
    batch: int | None
    channels_last: bool

    @property
    def opset(self) -> int:
        """Version of the operator set."""
        return max((each.version for each in self.model.opset_import if each.domain in DOMAINS), default=1)

    @property
    def takes_whole_numbers(self) -> bool:
        """Whether the values of images are whole numbers."""
        return self.kind in WHOLE_INPUTS

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return [each.name for each in self.model.graph.output]


def arrange(images: Tensor, *, channels_last: bool) -> Tensor:
    """Brings images (N, C, H, W) to the order of the axes that a network takes."""
    return images.permute(0, 2, 3, 1) if channels_last else images


def read_onnx(path: Path, release: Release) -> OnnxFile:
    """Reads an ONNX file.

    Args:
        path: The file.
        release: Its catalogue entry, with the size of an image.

    Raises:
        UnloadableModel: The file is damaged, has its weights in other files, or does not take one batch of images of
            this size.
    """
    try:
        model = read_model(path)
        if not all(each.type.tensor_type.HasField("shape") for each in model.graph.output):
            model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        model = inline_local_functions(model)
    except UnreadableOnnx as error:
        raise unloadable(release, f"the ONNX file {error}") from error
    except Exception as error:  # protobuf and onnx have many kinds of exceptions without a common class
        raise unloadable(release, f"{path.name} is not an ONNX file, or it is damaged: {first_line(error)}") from error
    known = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in known]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs[:5]) or "none"
        raise unloadable(
            release, f"an ONNX network must have one input, the images; this one has {len(inputs)} ({names})"
        )
    return _check_input(model, inputs[0], release)


def _check_input(model: onnx.ModelProto, given: Any, release: Release) -> OnnxFile:
    kind = given.type.tensor_type.elem_type
    if kind not in FLOAT_INPUTS | WHOLE_INPUTS:
        known = onnx.TensorProto.DataType.items()
        name = next((name.lower() for name, number in known if number == kind), f"number {kind}")
        raise unloadable(release, f"the ONNX network takes values of the type {name}; it must take numbers")
    for axis in given.type.tensor_type.shape.dim:
        if axis.HasField("dim_value") and axis.dim_value <= 0:  # some exporters write a free length so
            axis.dim_param = "free"
    shape = [axis.dim_value if axis.HasField("dim_value") else None for axis in given.type.tensor_type.shape.dim]
    if len(shape) != 4:
        raise unloadable(release, f"the input of the ONNX network has {len(shape)} axes; a batch of images has 4")
    if kind in WHOLE_INPUTS and release.preprocessing.range[1] <= 1:
        raise unloadable(
            release,
            "the ONNX network takes whole numbers, and the release declares levels up to 1; give range = [0, 255]",
        )
    batch, *image = shape
    last = _has_channels_last(image, release.preprocessing)
    sides = [image[2], image[0], image[1]] if last else image
    wanted = [release.preprocessing.channels, *release.preprocessing.size]
    if any(side not in (None, number) for side, number in zip(sides, wanted, strict=True)):
        found, declared = (
            " × ".join("any" if side is None else str(side) for side in each) for each in (sides, wanted)
        )
        raise unloadable(
            release,
            f"the ONNX network takes images of {found} (channels, height, width), the release declares {declared}; "
            "give the preprocessing of the network: channels and size",
        )
    return OnnxFile(model, given.name, kind, batch, last)


def _has_channels_last(image: list[int | None], preprocessing: Preprocessing) -> bool:
    """Whether the axes of an image are height, width and channels, as TensorFlow has them."""
    first, *_, last = image
    return last == preprocessing.channels and first != preprocessing.channels


def first_line(error: Exception) -> str:
    """Returns the first line of an error, or its name if it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
