"""Odd ONNX files, as strangers bring them: they work as far as they can, and never read what is not theirs."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.support.onnx_models import Array, floats, numbers
from worker.models.onnx import archive
from worker.models.onnx.black_box import BlackBox
from worker.models.onnx.load import InGroups, load_onnx
from worker.models.onnx.network import OnnxNetwork

CONSTANTS: dict[str, Array] = {
    "kernel": floats(8, 3, 3, 3), "bias": floats(8), "weight": floats(5, 8), "offset": floats(5, seed=1),
    "one": np.ones((1, 1, 1, 1), np.float32), "shape": numbers(0, 8),
}  # fmt: skip
IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


CONVOLUTION = node("Conv", "x kernel bias", "c", pads=[1, 1, 1, 1], name="/stem/conv/Conv")


def head(source: str = "c", output: str = "out") -> list[onnx.NodeProto]:
    """The mean over all positions, and a linear layer."""
    return [
        node("GlobalAveragePool", source, "mean"),
        node("Flatten", "mean", "flat"),
        node("Gemm", "flat weight offset", output, transB=1),
    ]


def make(
    nodes: list[onnx.NodeProto],
    *,
    shape: Any = ("n", 3, 16, 16),
    outputs: tuple[str, ...] = ("out",),
    kinds: dict[str, int] | None = None,
    opset: int = 18,
    more: dict[str, Array] | None = None,
    **graph: Any,
) -> onnx.ModelProto:
    """A model with the constants of a small classifier."""
    used = {name for each in nodes for name in each.input}
    constants = {name: value for name, value in (CONSTANTS | (more or {})).items() if name in used}
    types = {name: (kinds or {}).get(name, TensorProto.FLOAT) for name in outputs}
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    found = [helper.make_tensor_value_info(name, types[name], None) for name in outputs]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "graph", given, found, stored)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=imports, ir_version=9, **graph)


def load(tmp_path: Path, model: onnx.ModelProto, **preprocessing: Any) -> Any:
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    fields = {"size": (16, 16), "mean": [], "std": []} | preprocessing
    release = Release(
        name="odd", architecture="onnx", weights=path, classes=list("abcde"), preprocessing=Preprocessing(**fields)
    )
    return load_onnx(path, release)[0]


PLAIN = [CONVOLUTION, *head()]


def external(name: str = "stolen") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[16], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "secret"), ("length", "16")):
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    return tensor


def in_function() -> onnx.ModelProto:
    leak = helper.make_function(
        "own",
        "Leak",
        [],
        ["y"],
        [helper.make_node("Constant", [], ["y"], value=external())],
        [helper.make_opsetid("", 18)],
    )
    return make([helper.make_node("Leak", [], ["s"], domain="own"), *PLAIN], functions=[leak])


def in_branch() -> onnx.ModelProto:
    branch = helper.make_graph(
        [], "branch", [], [helper.make_tensor_value_info("s", TensorProto.UINT8, [16])], [external("s")]
    )
    chosen = node("If", "yes", "t", then_branch=branch, else_branch=branch)
    return make([chosen, *PLAIN], more={"yes": np.array(True)})


def in_sparse() -> onnx.ModelProto:
    model = make(PLAIN)
    indices = numpy_helper.from_array(numbers(*range(16)), "i")
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=external(), indices=indices, dims=[16]))
    return model


@pytest.mark.parametrize("make_leak", [in_function, in_branch, in_sparse])
@pytest.mark.parametrize("packed", [False, True])
def test_no_file_of_the_worker_is_ever_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_leak: Callable[[], onnx.ModelProto], packed: bool
) -> None:
    (tmp_path / "secret").write_bytes(b"PASSWORD=hunter2")
    monkeypatch.chdir(tmp_path)
    data, path = make_leak().SerializeToString(), tmp_path / "odd"
    path.write_bytes(data)
    if packed:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("odd.onnx", data)
    release = Release(name="odd", architecture="onnx", weights=path, classes=["a"])
    with pytest.raises(UnloadableModel, match="weights in"):
        load_onnx(path, release)


def test_weights_that_are_read_again_and_again_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(PLAIN)
    for number in range(40):
        tensor = external(f"again{number}")
        tensor.external_data[0].value = "data"
        model.graph.initializer.append(tensor)
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as file:
        file.writestr("odd.onnx", model.SerializeToString())
        file.writestr("data", bytes(16))
    monkeypatch.setattr(archive, "MAX_BYTES", 200)
    monkeypatch.setattr(archive.onnx, "load_from_string", lambda _data: model)
    monkeypatch.setattr(archive, "_read", lambda file, info, _room: file.read(info))
    with pytest.raises(archive.UnreadableOnnx, match="more weights than its files"):
        archive.read_model(tmp_path / "odd.zip")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    model = make(PLAIN)
    tensor = external()
    tensor.external_data[0].value = "data"
    model.graph.initializer.append(tensor)
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("odd.onnx", model.SerializeToString())
        file.writestr("data", bytes(100_000_000))
    with pytest.raises(archive.UnreadableOnnx, match="compressed too much"):
        archive.read_model(tmp_path / "odd.zip")


def test_functions_that_double_a_graph_again_and_again_are_refused(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["a"], ["b"], [node("Relu", "a", "b")], imports)]
    for number in range(1, 30):
        calls = [
            helper.make_node(f"F{number - 1}", [given], [found], domain="own")
            for given, found in (("a", "t"), ("t", "b"))
        ]
        functions.append(helper.make_function("own", f"F{number}", ["a"], ["b"], calls, imports))
    model = make([CONVOLUTION, helper.make_node("F29", ["c"], ["h"], domain="own"), *head("h")], functions=functions)
    with pytest.raises(UnloadableModel, match="nodes with those of its functions"):
        load(tmp_path, model)


@pytest.mark.parametrize("word", ["train", "forward", "_steps", "half", "type", "_modules"])
def test_modules_may_have_any_name(tmp_path: Path, word: str) -> None:
    convolution = node("Conv", "x kernel bias", "c", pads=[1, 1, 1, 1], name=f"/{word}/conv/Conv")
    loaded = load(tmp_path, make([convolution, node("Relu", "c", "h", name=f"/{word}/relu/Relu"), *head("h")]))
    assert isinstance(loaded, OnnxNetwork)
    assert loaded(IMAGES).shape == (5, 5)


@pytest.mark.parametrize("batch", [1, 4, 8])
def test_a_graph_with_a_number_of_images_inside_takes_any_number(tmp_path: Path, batch: int) -> None:
    """The images are merged with the rows, as exports of transformers do."""
    more = {"merged": numbers(batch * 8, 256), "apart": numbers(batch, 8, 16, 16)}
    model = make(
        [CONVOLUTION, node("Reshape", "c merged", "m"), node("Reshape", "m apart", "a"), *head("a")],
        shape=(batch, 3, 16, 16), more=more,
    )  # fmt: skip
    loaded = load(tmp_path, model)
    assert isinstance(loaded, InGroups)
    torch.testing.assert_close(loaded(IMAGES), load(tmp_path, make(PLAIN))(IMAGES))


def test_a_free_number_of_images_may_be_one_inside(tmp_path: Path) -> None:
    model = make(
        [CONVOLUTION, node("GlobalAveragePool", "c", "mean"), node("Reshape", "mean only", "flat"), PLAIN[-1]],
        more={"only": numbers(1, 8)},
    )
    torch.testing.assert_close(load(tmp_path, model)(IMAGES), load(tmp_path, make(PLAIN))(IMAGES))


@pytest.mark.parametrize("shape", [(-1, 3, 16, 16), (-1, 3, -1, -1), (0, 3, 0, 0), ("n", 3, "h", "w"), (None,) * 4])
def test_free_lengths_are_written_in_many_ways(tmp_path: Path, shape: Any) -> None:
    assert load(tmp_path, make(PLAIN, shape=shape))(IMAGES).shape == (5, 5)


@pytest.mark.parametrize(
    ("nodes", "outputs", "kinds"),
    [
        ([node("Identity", "scale", "extra")], ("out", "extra"), {}),
        ([node("ReduceMean", "c", "extra", keepdims=0)], ("extra", "out"), {}),
        ([node("Identity", "offset", "extra")], ("out", "extra"), {}),
        (
            [
                node("ArgMax", "out", "index", axis=1, keepdims=0),
                node(
                    "LabelEncoder", "index", "extra", domain="ai.onnx.ml", keys_int64s=[0, 1], values_strings=["a", "b"]
                ),
            ],
            ("extra", "out"),
            {"extra": TensorProto.STRING},
        ),
    ],
    ids=["constant", "scalar", "weights", "text"],
)
def test_outputs_that_are_no_scores_are_left_out(
    tmp_path: Path, nodes: list[onnx.NodeProto], outputs: tuple[str, ...], kinds: dict[str, int]
) -> None:
    model = make([*PLAIN, *nodes], outputs=outputs, kinds=kinds, more={"scale": np.float32(4.6)})
    loaded = load(tmp_path, model)
    torch.testing.assert_close(loaded(IMAGES), load(tmp_path, make(PLAIN))(IMAGES))


def test_a_softmax_that_the_graph_reads_again_is_not_taken_away(tmp_path: Path) -> None:
    nodes = [CONVOLUTION, *head("c", "z"), node("Softmax", "z", "out"), node("Hardmax", "out", "dead")]
    loaded = load(tmp_path, make(nodes))
    assert isinstance(loaded, BlackBox)
    torch.testing.assert_close(loaded(IMAGES).sum(1), torch.ones(5))


def test_a_convolution_may_have_a_bias_that_is_computed(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "x", "m", keepdims=0),
        node("Mul", "bias m", "b"),
        node("Conv", "x kernel b", "c"),
        *head(),
    ]
    assert load(tmp_path, make(nodes, shape=(1, 3, 16, 16)))(IMAGES).shape == (5, 5)


def test_an_output_needs_no_declared_shape(tmp_path: Path) -> None:
    model = make(PLAIN)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert load(tmp_path, model)(IMAGES).shape == (5, 5)


@pytest.mark.parametrize(
    ("kind", "message"), [(99, "number 99"), (TensorProto.STRING, "string"), (TensorProto.UINT8, r"range = \[0, 255\]")]
)
def test_an_input_that_is_no_image_is_refused(tmp_path: Path, kind: int, message: str) -> None:
    model = make([node("Cast", "x", "y", to=TensorProto.FLOAT), node("Conv", "y kernel bias", "c"), *head()])
    model.graph.input[0].type.tensor_type.elem_type = kind
    with pytest.raises(UnloadableModel, match=message):
        load(tmp_path, model)
