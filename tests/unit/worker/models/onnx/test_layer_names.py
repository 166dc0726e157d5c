"""Layers of an ONNX file have the names that its author gave them."""

import onnx
import pytest
from onnx import helper

from worker.models.onnx.layer_names import SCOPES, find_scope, name_nodes


def node(operator: str, name: str = "", scopes: str | None = None) -> onnx.NodeProto:
    made = helper.make_node(operator, ["x"], ["y"], name=name)
    if scopes is not None:
        made.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=scopes))
    return made


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.0/features.0.1/Relu", "features.0.1"),
        ("/Flatten", ""),
        ("Conv_12", ""),
        ("", ""),
        ("model/block 1/conv;x/Conv2D", "model.block_1.conv_x"),
    ],
)
def test_the_scope_is_read_from_the_name_of_a_node(name: str, scope: str) -> None:
    assert find_scope(node("Conv", name)) == scope


@pytest.mark.parametrize(
    ("scopes", "scope"),
    [
        ("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']", "layer1.0.conv1"),
        ("['', 'mean']", ""),
        ("['', '_empty_nn_module_stack_from_metadata_hook', 'sym']", ""),
        ("not a list", ""),
        ("5", ""),
        ("{'a': 1, 'b': 2}", ""),
        ("['', 1, 'x']", ""),
        ("[" * 5000, ""),
        (str(["", ".".join(["a"] * 100), "x"]), ""),
        ("['', 'train.forward', 'x']", "train_.forward_"),
        ("[]", ""),
    ],
)
def test_the_scope_is_read_from_what_the_exporter_writes(scopes: str, scope: str) -> None:
    assert find_scope(node("Conv", "node_conv2d_1", scopes)) == scope


def test_nodes_in_one_module_are_told_apart() -> None:
    nodes = [
        node("Conv", "/block/conv/Conv"),
        node("Relu", "/block/Relu"),
        node("Add", "/block/Add"),
        node("Add", "/block/Add_1"),
        node("Gemm", "/head/Gemm"),
    ]
    assert name_nodes(nodes) == ["block.conv", "block.relu", "block.add_0", "block.add_1", "head"]


def test_a_module_with_several_nodes_is_no_layer_itself() -> None:
    """An exporter names the function `mul` as the module `mul` next to it."""
    nodes = [node("Sigmoid", "/mul/Sigmoid"), node("Mul", "/mul/Mul"), node("Mul", "/Mul"), node("Mul", "/a/mul/x/Mul")]
    names = name_nodes(nodes)
    assert names[:2] == ["mul.sigmoid", "mul.mul"]
    assert "mul" not in names
    assert not {name for name in names if any(other.startswith(f"{name}.") for other in names)}


def test_names_never_collide() -> None:
    nodes = [node("Conv"), node("Conv"), node("Conv", "/conv_0/Conv"), node("Conv", "/conv/inner/Conv")]
    names = name_nodes(nodes)
    assert len(set(names)) == len(nodes)
    assert not {name for name in names if any(other.startswith(f"{name}.") for other in names)}
