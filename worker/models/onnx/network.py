"""An ONNX graph as a PyTorch network: one module per node, which run in the order of the file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from worker.models.onnx.layer_names import name_nodes
from worker.models.onnx.onnx_file import DOMAINS, OnnxFile, arrange
from worker.models.onnx.operators.arrays import ARRAYS
from worker.models.onnx.operators.call import Call, Operation, Unsupported, list_numbers
from worker.models.onnx.operators.elementwise import ELEMENTWISE
from worker.models.onnx.operators.sums import SUMS
from worker.models.onnx.operators.windows import WINDOWS

OPERATIONS: dict[str, Operation] = {**ARRAYS, **ELEMENTWISE, **SUMS, **WINDOWS}
"""All operators that can be run in PyTorch, by name."""

PLUMBING = (set(ARRAYS) - {"Concat"}) | {"Cast", "CastLike", "Equal", "Where"}
"""Operators that move values without computing with them."""


@dataclass(frozen=True)
class Step:
    """One node of the graph.

    Attributes:
        layer: Name of its module; empty if it is no layer.
        inputs: Names of the values that the module takes; None for an input that is left out.
        outputs: Names of the values that it gives.
        done: Names of the values that no later node reads.
        operator: What runs the node if it is no layer.
    """

    layer: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]
    operator: nn.Module | None = None


class OnnxNetwork(nn.Module):
    """Runs the nodes of an ONNX graph. Returns the output, or several by name."""

    def __init__(self, file: OnnxFile, outputs: Sequence[str], *, free: bool = True) -> None:
        """Builds the modules of a graph.

        Args:
            file: The file.
            outputs: Names of the outputs that are returned.
            free: Whether a network that was exported for a fixed number of images takes any number.

        Raises:
            Unsupported: An operator, or a form of it, is not known.
        """
        super().__init__()
        self._input, self._outputs, self._channels_last = file.name, list(outputs), file.channels_last
        graph = file.model.graph
        file = file if free else replace(file, batch=None)
        constants = {each.name: read_tensor(each) for each in graph.initializer}
        nodes = [node for node in graph.node if not _compute(node, constants, file)]
        built = [build_module(node, constants, file) for node in nodes]
        layers = [place for place, (module, _) in enumerate(built) if not _is_plumbing(module)]
        names = dict(zip(layers, name_nodes([nodes[place] for place in layers]), strict=True))
        readers = {name: place for place, node in enumerate(nodes) for name in node.input}
        self._steps: list[Step] = []
        for place, (node, (module, inputs)) in enumerate(zip(nodes, built, strict=True)):
            layer = names.get(place, "")
            if layer:
                self._add(layer, module)
            unread = {name for name in (*inputs, *node.output) if name and readers.get(name, place) == place}
            done = tuple(unread - set(self._outputs))
            self._steps.append(Step(layer, inputs, tuple(node.output), done, None if layer else module))

    def _add(self, name: str, module: nn.Module) -> None:
        """Adds a module under a name with dots between the names of modules in modules."""
        parent: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(last, module)

    def forward(self, images: Tensor) -> Any:
        """Runs the graph on images (N, C, H, W)."""
        values: dict[str | None, Any] = {None: None, self._input: arrange(images, channels_last=self._channels_last)}
        for step in self._steps:
            run = self.get_submodule(step.layer) if step.operator is None else step.operator.forward
            outputs = run(*(values[name] for name in step.inputs))
            several = outputs if isinstance(outputs, tuple | list) else (outputs,)
            values.update(zip(step.outputs, several, strict=False))
            for name in step.done:
                values.pop(name, None)
        found = {name: values[name] for name in self._outputs}
        return found if len(found) > 1 else found[self._outputs[0]]


class Operator(nn.Module):
    """An operator with the inputs that are constants of the file."""

    def __init__(self, call: Call, operation: Operation, constants: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.call = call
        self._operation = operation
        self._small: dict[int, Tensor] = {}
        self._stored: dict[int, str] = {}
        for place, value in constants.items():
            if value.is_floating_point() and not _is_limit(call, place):
                self._stored[place] = f"constant_{place}"
                self.register_buffer(f"constant_{place}", value)
            else:
                self._small[place] = value

    def forward(self, *values: Any) -> Any:
        """Runs the operator on the inputs that are no constants."""
        given = iter(values)
        count = len(values) + len(self._small) + len(self._stored)
        return self._operation(self.call, *(self._find(place, given) for place in range(count)))

    def _find(self, place: int, given: Iterator[Any]) -> Any:
        if place in self._stored:
            return getattr(self, self._stored[place])
        return self._small[place] if place in self._small else next(given)

    def extra_repr(self) -> str:
        """Returns the operator, which PyTorch prints as part of the network."""
        return self.call.operator


def _is_limit(call: Call, place: int) -> bool:
    """Whether a float is read as a number, such as the limits of a clip; it stays on the CPU, and in its precision."""
    return place > 0 and call.operator in ("Clip", "Pad", "Resize", "Upsample", "Range")


def _is_plumbing(module: nn.Module) -> bool:
    """Whether a module only moves values, such as a reshape; a reader does not look for such layers."""
    return isinstance(module, Operator) and module.call.operator in PLUMBING and not list(module.buffers())


def _compute(node: onnx.NodeProto, constants: dict[str, Tensor], file: OnnxFile) -> bool:
    """Computes the output of a node and add it to the constants, if all of its inputs are constants."""
    if any(name and name not in constants for name in node.input):
        return False
    call, operation = _find_operation(node, file)
    outputs = operation(call, *(constants.get(name) for name in node.input))
    several = outputs if isinstance(outputs, tuple | list) else (outputs,)
    constants.update(zip(node.output, several, strict=False))
    return True


def _find_operation(node: onnx.NodeProto, file: OnnxFile) -> tuple[Call, Operation]:
    """Returns what runs a node. Raises `Unsupported` if the operator is not known."""
    operation = OPERATIONS.get(node.op_type) if node.domain in DOMAINS else None
    if operation is None:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise Unsupported(f"the operator {name}")
    outputs = sum(bool(name) for name in node.output)
    return Call(node.op_type, dict(_read_attributes(node)), file.opset, outputs), operation


def build_module(
    node: onnx.NodeProto, constants: Mapping[str, Tensor], file: OnnxFile
) -> tuple[nn.Module, tuple[str | None, ...]]:
    """Builds the module of a node.

    Args:
        node: The node.
        constants: Constants of the file by name.
        file: The file.

    Returns:
        The module, and the names of the values that it takes.

    Raises:
        Unsupported: The operator is not known.
    """
    call, operation = _find_operation(node, file)
    names = [name or None for name in node.input]
    fixed = {place: constants[name] for place, name in enumerate(node.input) if name in constants}
    if call.operator == "Reshape" and 1 in fixed:
        call, fixed[1] = _free_batch(call, fixed[1], file)
    inputs = tuple(name for place, name in enumerate(names) if place not in fixed)
    is_layer = inputs == (names[0],)  # all others are constants
    return (is_layer and _build_layer(call, fixed)) or Operator(call, operation, fixed), inputs


def _free_batch(call: Call, shape: Tensor, file: OnnxFile) -> tuple[Call, Tensor]:
    """Lets a reshape in a file with a fixed number of images take any number of images."""
    first, *others = list_numbers(shape)
    if file.batch is None or first != file.batch or 0 in others:
        return call, shape
    return replace(call, attributes={**call.attributes, "allowzero": 0}), torch.tensor([0, *others])


def _build_layer(call: Call, fixed: Mapping[int, Tensor]) -> nn.Module | None:
    """Builds a layer of PyTorch, which methods know, such as a convolution; None if the operator is no such layer."""
    if call.operator == "Relu":
        return nn.ReLU()
    builders = {
        "Conv": _build_convolution,
        "BatchNormalization": _build_norm,
        "Gemm": _build_linear,
        "MatMul": _build_linear,
    }
    weights = [fixed[place] for place in sorted(fixed) if place > 0]
    if call.operator not in builders or 0 in fixed or not weights:
        return None
    return builders[call.operator](call, weights)


def _build_convolution(call: Call, weights: Sequence[Tensor]) -> nn.Module | None:
    weight, *bias = weights
    pads = call.get("pads", [0, 0, 0, 0])
    if weight.ndim != 4 or call.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or pads[:2] != pads[2:]:
        return None
    groups = call.get("group", 1)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=tuple(call.get("strides", (1, 1))),
        padding=tuple(pads[:2]),
        dilation=tuple(call.get("dilations", (1, 1))),
        groups=groups,
        bias=bool(bias),
    )
    return _fill(layer, weight=weight, bias=bias[0] if bias else None)


def _build_norm(call: Call, weights: Sequence[Tensor]) -> nn.Module | None:
    if len(weights) != 4 or call.get("training_mode", 0):
        return None
    scale, bias, mean, variance = weights
    layer = AnyBatchNorm(len(scale), eps=call.get("epsilon", 1e-5))
    return _fill(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)


class AnyBatchNorm(nn.BatchNorm2d):
    """A batch norm of images (N, C, H, W) or of features (N, C): a node of ONNX does not say which."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - the name of PyTorch's argument
        pass


def _build_linear(call: Call, weights: Sequence[Tensor]) -> nn.Module | None:
    weight, *bias = weights
    usual = (call.get("alpha", 1.0), call.get("beta", 1.0), call.get("transA", 0)) == (1, 1, 0)
    if weight.ndim != 2 or not usual or (bias and bias[0].shape != (weight.shape[0 if call.get("transB", 0) else 1],)):
        return None
    rows = weight if call.get("transB", 0) else weight.transpose(0, 1).contiguous()
    layer = nn.Linear(rows.shape[1], rows.shape[0], bias=bool(bias))
    return _fill(layer, weight=rows, bias=bias[0] if bias else None)


def _fill(layer: nn.Module, **values: Tensor | None) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                getattr(layer, name).copy_(value)
    return layer


def read_tensor(tensor: onnx.TensorProto) -> Tensor:
    """Returns the values of a tensor of the file, as float32 if they are floats."""
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array, dtype=np.float32))
    return torch.from_numpy(np.array(array))


def _read_attributes(node: onnx.NodeProto) -> Iterator[tuple[str, Any]]:
    for each in node.attribute:
        value = onnx.helper.get_attribute_value(each)
        if isinstance(value, onnx.TensorProto):
            value = read_tensor(value)
        elif isinstance(value, bytes):
            value = value.decode()
        yield each.name, list(value) if each.type >= onnx.AttributeProto.FLOATS else value
