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

FINALS = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}
"""Operators at the end of a graph that are run in PyTorch, so that the scores before them are known."""

FATAL = 4
"""Log level of onnxruntime: errors are raised, and not printed besides."""


class BlackBox(nn.Module):
    """A network that onnxruntime runs on the CPU. It has neither gradients nor layers."""

    def __init__(self, file: OnnxFile, release: Release, *, threads: int) -> None:
        """Load a file.

        Args:
            file: The file.
            release: Its catalogue entry, for errors.
            threads: Number of threads that onnxruntime may use.

        Raises:
            UnloadableModel: onnxruntime cannot run it.
        """
        super().__init__()
        model, self._final = split_final(file)
        self._batch, self._outputs, self._name = file.batch, [each.name for each in model.graph.output], file.name
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
        """Return the network itself: it never changes, and a session of onnxruntime cannot be copied."""
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        """Run the network on images (N, C, H, W). Returns the output, or several by name."""
        rows = arrange(images, channels_last=self._channels_last).float().cpu().numpy()
        if self._type.kind in "iu":
            limits = np.iinfo(self._type)
            rows = np.clip(np.rint(rows), limits.min, limits.max)
        found = self._run(rows.astype(self._type))
        tensors = {name: torch.from_numpy(value).to(images.device) for name, value in found.items()}
        if self._final is not None:
            (name,) = tensors
            return self._final(tensors[name].float())
        floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        return floats if len(floats) > 1 else floats[self._outputs[0]]

    def _run(self, rows: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Run the session; if the file fixes the number of images, on as many at a time."""
        if self._batch in (None, len(rows)):
            parts = [self._session.run(None, {self._name: rows})]
        else:
            parts = [self._run_part(rows[start : start + self._batch]) for start in range(0, len(rows), self._batch)]
        return {name: np.concatenate(values) for name, *values in zip(self._outputs, *parts, strict=True)}

    def _run_part(self, rows: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        count = len(rows)
        filled = np.concatenate([rows, np.repeat(rows[:1], (self._batch or count) - count, axis=0)])
        return [value[:count] for value in self._session.run(None, {self._name: filled})]


class Final(nn.Module):
    """The softmax or the sigmoid at the end of a graph."""

    def __init__(self, operator: str, axis: int) -> None:
        super().__init__()
        self.operator, self.axis = operator, axis

    def forward(self, scores: Tensor) -> Tensor:
        """Return the probabilities of scores (N, K), or their logarithms."""
        return torch.sigmoid(scores) if self.operator == "Sigmoid" else FINALS[self.operator](scores, self.axis)


def split_final(file: OnnxFile) -> tuple[onnx.ModelProto, Final | None]:
    """Remove a final softmax or sigmoid from a graph with one output.

    Returns:
        The graph, and what was removed; None if the graph ends in another way.
    """
    names = file.outputs
    ends = [node for node in file.model.graph.node if names[0] in node.output]
    if len(names) != 1 or not ends or ends[0].op_type not in (*FINALS, "Sigmoid"):
        return file.model, None
    (node,) = ends
    axis = next((each.i for each in node.attribute if each.name == "axis"), -1 if file.opset >= 13 else 1)
    if axis not in (-1, 1) and node.op_type != "Sigmoid":
        return file.model, None
    model = copy.deepcopy(file.model)
    kind = model.graph.output[0].type.tensor_type.elem_type
    model.graph.node.remove(node)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], kind, None))
    return model, Final(node.op_type, axis)
