"""Small ONNX models, built node by node or exported from PyTorch."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

Array = NDArray[Any]


def build_model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Array],
    *,
    constants: dict[str, Array] | None = None,
    outputs: tuple[str, ...] = ("out",),
    opset: int = 18,
    shape: list[Any] | None = None,
) -> onnx.ModelProto:
    """A model of some nodes.

    Args:
        nodes: The nodes.
        inputs: An example of each input.
        constants: The initializers.
        outputs: Names of the outputs.
        opset: Version of the operators.
        shape: The declared shape of the inputs; by default that of the examples.
    """
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    given = [helper.make_tensor_value_info(name, kinds[name], shape or value.shape) for name, value in inputs.items()]
    found = [onnx.ValueInfoProto(name=name) for name in outputs]
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", given, found, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred


def export(network: nn.Module, path: Path, images: torch.Tensor, *, free: bool = True, **options: Any) -> Path:
    """Exports a network as people do.

    Args:
        network: The network.
        path: Where to write the file.
        images: An example of its input (N, C, H, W).
        free: Whether the number of images is free.
        options: Further arguments of `torch.onnx.export`.
    """
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=512)},)} if free else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (images if free else images[:1],),
            path,
            **{"dynamo": True, "external_data": False, "verbose": False, **shapes, **options},
        )
    return path


def floats(*shape: int, seed: int = 0) -> Array:
    """Random numbers of a normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numbers(*values: int) -> Array:
    """Whole numbers, as shapes and axes are."""
    return np.array(values, np.int64)


def add_unknown(path: Path, final: str | None = None) -> Path:
    """Makes a black box: adds an operator without counterpart in PyTorch, which changes nothing, and a final one."""
    model = onnx.load(path)
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["raw" if name == output else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    model.graph.node.extend([
        helper.make_node("Hardmax", ["raw"], ["hard"]),
        helper.make_node("Mul", ["hard", "zero"], ["nothing"]),
        helper.make_node("Add", ["raw", "nothing"], ["scores" if final else output]),
    ])  # fmt: skip
    if final:
        model.graph.node.append(helper.make_node(final, ["scores"], [output]))
    onnx.save(model, path)
    return path
