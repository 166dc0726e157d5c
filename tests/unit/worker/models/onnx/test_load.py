"""ONNX files load as PyTorch modules that compute the same, or as black boxes; others are refused with the reason."""

import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from archetype.contract.model import Preprocessing
from archetype.files import packed
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.support.networks import seeded
from tests.support.onnx_models import add_unknown, export
from worker.engine.model.folding import fold_batch_norms
from worker.models.loader import Loader, ModelCache
from worker.models.onnx.black_box import BlackBox
from worker.models.onnx.load import InGroups, load_onnx
from worker.models.onnx.network import OnnxNetwork
from worker.models.trial import try_network

CPU = torch.device("cpu")


class Residual(nn.Module):
    """Convolutions, batch norms, a residual connection, and an attention over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 1))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.stem(images)
        cells = torch.relu(cells + self.block(cells))
        tokens = self.norm(cells.flatten(2).transpose(1, 2))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        scores: Tensor = self.head((tokens + mixed).mean(1))
        return scores


class Plain(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        cells = torch.relu(self.norm1(self.conv1(images)))
        scores: Tensor = self.classifier(self.pool(cells).flatten(1))
        return scores


IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@cache
def export_plain(*, free: bool = True) -> bytes:
    """The file of a plain network; an export takes a second."""
    with TemporaryDirectory() as folder:
        return export(seeded(Plain), Path(folder) / "net.onnx", IMAGES, free=free).read_bytes()


def write_plain(path: Path, *, free: bool = True) -> Path:
    path.write_bytes(export_plain(free=free))
    return path


def entry(path: Path, **changes: Any) -> Release:
    preprocessing = Preprocessing(size=(16, 16), mean=[], std=[])
    fields = {"name": "net", "architecture": "onnx", "weights": path, "classes": list("abcde")}
    return Release.model_validate({**fields, "preprocessing": preprocessing, **changes})


def load(path: Path, **changes: Any) -> tuple[nn.Module, list[str]]:
    return load_onnx(path, entry(path, **changes))


@pytest.mark.parametrize(
    "options", [{}, {"dynamo": False, "dynamic_axes": {"images": {0: "n"}}, "input_names": ["images"]}]
)
def test_an_export_computes_what_the_network_computes_with_its_gradient(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    network = seeded(Residual)
    path = export(network, tmp_path / "net.onnx", IMAGES[:2], free=not options, **options)
    loaded, notes = load(path)
    assert isinstance(loaded, OnnxNetwork), notes
    ours, theirs = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    torch.testing.assert_close(loaded(ours), network(theirs), rtol=1e-4, atol=1e-5)
    loaded(ours)[:, 1].sum().backward()
    network(theirs)[:, 1].sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_layers_have_the_names_of_the_network(tmp_path: Path) -> None:
    loaded, _ = load(
        export(seeded(Plain), tmp_path / "net.onnx", IMAGES[:2], do_constant_folding=False, dynamo=False, free=False)
    )
    modules = dict(loaded.named_modules())
    assert {"conv1", "classifier", "pool"} <= set(modules)
    assert isinstance(modules["conv1"], nn.Conv2d)
    assert isinstance(modules["classifier"], nn.Linear)


def test_a_network_that_was_exported_for_one_image_takes_any_number(tmp_path: Path) -> None:
    network = seeded(Plain).eval()
    loaded, notes = load(write_plain(tmp_path / "net.onnx", free=False))
    assert isinstance(loaded, OnnxNetwork), notes
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_images_run_one_after_the_other_if_the_graph_has_the_number_inside(tmp_path: Path) -> None:
    network = seeded(Residual)
    loaded, notes = load(export(network, tmp_path / "net.onnx", IMAGES, free=False))
    assert isinstance(loaded, InGroups)
    assert "dynamic batch" in notes[-1]
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("free", [True, False])
def test_an_unknown_operator_makes_a_black_box_that_computes_the_same(tmp_path: Path, free: bool) -> None:
    network = seeded(Plain).eval()
    loaded, notes = load(add_unknown(write_plain(tmp_path / "net.onnx", free=free)))
    assert isinstance(loaded, BlackBox)
    assert "because PyTorch has no counterpart of the operator Hardmax" in notes[-1]
    found = loaded(IMAGES.requires_grad_())
    assert not found.requires_grad
    torch.testing.assert_close(found, network(IMAGES).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("final", "function"), [("Softmax", "softmax"), ("Sigmoid", "sigmoid")])
def test_the_scores_before_the_end_of_a_black_box_are_found(tmp_path: Path, final: str, function: str) -> None:
    path = add_unknown(write_plain(tmp_path / "net.onnx"), final)
    loaded = Loader().load(entry(path), CPU)
    assert isinstance(loaded.network, BlackBox)
    assert loaded.traits.scores is not None
    reader = loaded.traits.scores.reader
    assert (reader.activation, reader.tap is not None) == (function, True)


def test_a_black_box_does_what_needs_no_gradient(tmp_path: Path) -> None:
    release = entry(add_unknown(write_plain(tmp_path / "net.onnx")))
    cache = ModelCache(Loader(), device=CPU)
    with cache.open(release) as (classifier, loaded):
        tried = try_network(classifier, loaded.description, release)
    works = {(each.method, each.kind) for each in tried.capabilities or [] if each.available}
    kinds = {("saliency", kind) for kind in ("occlusion", "rise", "kernel_shap")}
    assert kinds | {("patches", None), ("trigger", None)} <= works
    assert not works & {("class_model", None), ("saliency", "gradient"), ("activations", None)}


class ChannelsLast(nn.Module):
    """Takes images with channels last, as TensorFlow does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = seeded(Plain)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.inner(images.permute(0, 3, 1, 2))
        return scores


def test_an_input_with_channels_last_gets_images_in_that_order(tmp_path: Path) -> None:
    path = export(ChannelsLast(), tmp_path / "net.onnx", IMAGES.permute(0, 2, 3, 1))
    loaded, _ = load(path)
    torch.testing.assert_close(loaded(IMAGES), seeded(Plain).eval()(IMAGES), rtol=1e-4, atol=1e-5)


def test_an_input_of_bytes_gets_levels_from_0_to_255_and_has_a_gradient(tmp_path: Path) -> None:
    model = onnx.load(write_plain(tmp_path / "net.onnx"))
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["levels" if each == name else each for each in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", [name], ["levels"], to=onnx.TensorProto.FLOAT))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, tmp_path / "bytes.onnx")
    levels = Preprocessing(size=(16, 16), mean=[], std=[], range=(0, 255))
    loaded, notes = load(tmp_path / "bytes.onnx", preprocessing=levels)
    assert isinstance(loaded, OnnxNetwork), notes
    assert loaded(IMAGES.requires_grad_()).requires_grad


def test_batch_norms_of_an_export_can_be_folded(tmp_path: Path) -> None:
    path = export(
        seeded(Plain), tmp_path / "net.onnx", IMAGES, dynamo=False, free=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    loaded, _ = load(path)
    assert any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules())
    folded = fold_batch_norms(loaded)
    assert folded is not None
    assert folded.layers == {"conv1"}


def change_input(shape: list[Any]) -> Any:
    def change(model: onnx.ModelProto) -> None:
        given = model.graph.input[0]
        given.CopyFrom(helper.make_tensor_value_info(given.name, onnx.TensorProto.FLOAT, shape))

    return change


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))


def move_weights_out(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../../secret"))
        tensor.ClearField("raw_data")


def use_unknown_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "my.company"
    model.opset_import.append(helper.make_opsetid("my.company", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_input(["n", 3, 20, 16]), "takes images of 3 × 20 × 16 .*the release declares 3 × 16 × 16"),
        (change_input(["n", 768]), "has 2 axes"),
        (add_input, "must have one input"),
        (move_weights_out, "external_data=False"),
        (use_unknown_domain, "onnxruntime cannot run"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, change: Any, message: str) -> None:
    model = onnx.load(write_plain(tmp_path / "net.onnx"))
    change(model)
    (tmp_path / "changed.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnloadableModel, match=message):
        load(tmp_path / "changed.onnx")


def test_weights_beside_the_file_are_packed_with_it_and_read(tmp_path: Path) -> None:
    network = seeded(Plain).eval()
    path = export(network, tmp_path / "net.onnx", IMAGES, external_data=True)
    assert (tmp_path / "net.onnx.data").is_file()
    with pytest.raises(UnloadableModel, match=r"NAME\.onnx\.data"):
        load(path)
    with packed(path) as archive:
        loaded, _ = load(archive)
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.pop("net.onnx.data"), "weights in net.onnx.data, which is not in the ZIP file"),
        (lambda files: files.update({"net.onnx.data": b"short"}), "after the end of net.onnx.data"),
        (lambda files: files.update({"other.onnx": files["net.onnx"]}), "2 ONNX files"),
        (lambda files: files.clear(), "0 ONNX files"),
    ],
)
def test_an_archive_that_is_not_complete_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    export(seeded(Plain), tmp_path / "net.onnx", IMAGES, external_data=True)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    change(files)
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(UnloadableModel, match=message):
        load(tmp_path / "net.zip")


def test_weights_are_never_read_from_another_place(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(100_000))
    model = onnx.load_from_string(export_plain())
    move_weights_out(model)
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("net.onnx", model.SerializeToString())
    with pytest.raises(UnloadableModel, match="weights in secret, which is not in the ZIP file"):
        load(tmp_path / "net.zip")


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 9, b"\x08\x07\x12\x07pytorch"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(UnloadableModel, match="ONNX"):
        load(tmp_path / "net.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    content = write_plain(tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnloadableModel, match="ONNX"):
        load(tmp_path / "net.onnx")


def test_a_network_that_pytorch_computes_otherwise_becomes_a_black_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plain(tmp_path / "net.onnx")
    assert isinstance(load(path)[0], OnnxNetwork)
    run = OnnxNetwork.forward
    monkeypatch.setattr(OnnxNetwork, "forward", lambda self, images: run(self, images) + 0.1)
    loaded, notes = load(path)
    assert isinstance(loaded, BlackBox)
    assert "other outputs than onnxruntime" in notes[-1]
