"""Runs an ONNX file with onnxruntime: any operator, without gradients and without layers."""

import copy
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from shared.catalogue.release import Release
from worker.models.architectures import unloadable
from worker.models.onnx.onnx_file import OnnxFile, arrange, first_line
from worker.models.onnx.operators.call import Call
from worker.models.onnx.operators.elementwise import ELEMENTWISE

Array = np.ndarray[Any, Any]

FINALS = ("Softmax", "LogSoftmax", "Sigmoid")
"""Operators at the end of a graph that are run in PyTorch, so that the scores before them are known."""

FATAL = 4
"""Log level of onnxruntime: errors are raised, and not printed besides."""


class BlackBox(nn.Module):
    """A network that onnxruntime runs on the CPU. It has neither gradients nor layers.

    Attributes:
        batch: Number of images that it takes at a time; None if that is free.
    """

    def __init__(self, file: OnnxFile, release: Release, *, threads: int) -> None:
        """Loads a file.

        Args:
            file: The file.
            release: Its catalogue entry, for errors.
            threads: Number of threads that onnxruntime may use.

        Raises:
            UnloadableModel: onnxruntime cannot run it.
        """
        super().__init__()
        model, self._final = split_final(file)
        self.batch, self._outputs, self._name = file.batch, [each.name for each in model.graph.output], file.name
        self._channels_last = file.channels_last
        self._type = onnx.helper.tensor_dtype_to_np_dtype(file.kind)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has many kinds of exceptions without a common class
            raise unloadable(release, f"onnxruntime cannot run the ONNX file: {first_line(error)}") from error

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Returns the network itself: it never changes, and a session of onnxruntime cannot be copied."""
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        """Runs the network on images (N, C, H, W). Returns the output, or several by name."""
        rows = arrange(images, channels_last=self._channels_last).float().cpu().numpy()
        if self._type.kind in "iu":
            limits = np.iinfo(self._type)
            rows = np.clip(np.rint(rows), limits.min, limits.max)
        found = self._run(rows.astype(self._type))
        tensors = {name: torch.from_numpy(value).to(images.device) for name, value in found.items()}
        tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        if self._final is not None:
            (name,) = tensors
            return self._final(tensors[name])
        return tensors if len(tensors) > 1 else next(iter(tensors.values()))

    def _run(self, rows: Array) -> dict[str, Array]:
        """Runs the session; if the file fixes the number of images, on as many at a time.

        Returns:
            The outputs that have one row per image, by name.

        Raises:
            ValueError: There is none.
        """
        size = self.batch or len(rows)
        parts = [self._run_part(rows[start : start + size], size) for start in range(0, len(rows), size)]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if not found:
            names = ", ".join(self._outputs)
            raise ValueError(
                f"no output is an array with one row per image (outputs: {names}); export without maps and text"
            )
        return found

    def _run_part(self, rows: Array, size: int) -> dict[str, Array]:
        count = len(rows)
        filled = np.concatenate([rows, np.repeat(rows[:1], size - count, axis=0)])
        values = dict(zip(self._outputs, self._session.run(None, {self._name: filled}), strict=True))
        usable = {
            name: value
            for name, value in values.items()
            if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "fiub"
        }
        if size == 1:  # some exports drop the axis of a single image
            usable = {name: value if value.shape[:1] == (1,) else value[None] for name, value in usable.items()}
        return {name: value[:count] for name, value in usable.items() if value.shape[:1] == (size,)}


class Final(nn.Module):
    """The softmax or the sigmoid at the end of a graph."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def forward(self, scores: Tensor) -> Tensor:
        """Returns the probabilities of scores (N, K, …), or their logarithms."""
        probabilities: Tensor = ELEMENTWISE[self._call.operator](self._call, scores)
        return probabilities


def split_final(file: OnnxFile) -> tuple[onnx.ModelProto, Final | None]:
    """Removes a final softmax or sigmoid from a graph with one output.

    Returns:
        The graph, and what was removed; None if the graph ends in another way, or reads its output itself.
    """
    nodes, names = file.model.graph.node, file.outputs
    ends = [node for node in nodes if names[0] in node.output]
    readers = [node for node in nodes if names[0] in node.input or any(_has_graph(each) for each in node.attribute)]
    if len(names) != 1 or not ends or readers or ends[0].op_type not in FINALS:
        return file.model, None
    (node,) = ends
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    model = copy.deepcopy(file.model)
    kind = model.graph.output[0].type.tensor_type.elem_type
    model.graph.node.remove(node)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], kind, None))
    return model, Final(Call(node.op_type, attributes, file.opset))


def _has_graph(attribute: onnx.AttributeProto) -> bool:
    return attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
