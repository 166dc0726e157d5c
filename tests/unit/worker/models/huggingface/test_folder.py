"""Model folders of timm and transformers load with the scores, class names and preprocessing of their libraries."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from archetype.contract.model import Preprocessing
from archetype.contract.registration import NewRelease
from archetype.files import packed
from shared.catalogue.release import Release, build_release
from shared.errors import UnloadableModel
from tests.support.paths import PICTURES
from worker.engine.model.torchvision_import import import_torchvision
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import crop_levels
from worker.models.download_cache import ignore
from worker.models.huggingface.folder import complete_release
from worker.models.huggingface.preprocessing import TOLERANCE, measure_difference
from worker.models.loader import Loader
from worker.models.weight_files import WeightFiles

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries

CPU = torch.device("cpu")
NAMES = {0: "cat", 1: "dog", 2: "bee"}
LABELS = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
SMALL_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def make_vit(transformers: Any, **changes: Any) -> tuple[Any, Any]:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL_VIT, **LABELS, **changes)
    return config, transformers.ViTImageProcessor(size={"height": 32, "width": 32})


def make_convnext(transformers: Any) -> tuple[Any, Any]:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **LABELS)
    return config, transformers.ConvNextImageProcessor(size={"shortest_edge": 64})


def make_resnet(transformers: Any) -> tuple[Any, Any]:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    config = transformers.ResNetConfig(layer_type="basic", **sizes, **LABELS)
    return config, transformers.ConvNextImageProcessor(size={"shortest_edge": 96}, crop_pct=0.875)


def make_swin(transformers: Any) -> tuple[Any, Any]:
    sizes = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
    config = transformers.SwinConfig(image_size=32, patch_size=2, **sizes, **LABELS)
    return config, transformers.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.48, 0.45, 0.4])


def make_mobilenet(transformers: Any) -> tuple[Any, Any]:
    return transformers.MobileNetV2Config(depth_multiplier=0.25, **LABELS), transformers.MobileNetV2ImageProcessor()


def make_deit(transformers: Any) -> tuple[Any, Any]:
    config = transformers.DeiTConfig(image_size=32, patch_size=8, **SMALL_VIT, **LABELS)
    config.architectures = ["DeiTForImageClassification"]
    size, crop = {"height": 40, "width": 40}, {"height": 32, "width": 32}
    return config, transformers.DeiTImageProcessor(size=size, crop_size=crop)


def make_efficientnet(transformers: Any) -> tuple[Any, Any]:
    """Its processor divides by the standard deviation twice."""
    config = transformers.EfficientNetConfig(width_coefficient=0.2, depth_coefficient=0.2, hidden_dim=256, **LABELS)
    return config, transformers.EfficientNetImageProcessor(size={"height": 64, "width": 64})


def make_mobilevit(transformers: Any) -> tuple[Any, Any]:
    """Its processor turns images to BGR."""
    sizes = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
    return transformers.MobileViTConfig(image_size=64, **LABELS), transformers.MobileViTImageProcessor(**sizes)


FAMILIES = [
    make_mobilevit,
    make_vit,
    make_convnext,
    make_resnet,
    make_swin,
    make_mobilenet,
    make_deit,
    make_efficientnet,
]


@pytest.fixture(scope="session")
def transformers() -> Any:
    import_torchvision()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def save(folder: Path, parts: tuple[Any, Any], transformers: Any, **options: Any) -> nn.Module:
    """Saves a network with random weights and statistics, and its image processor."""
    config, processor = parts
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network: nn.Module = transformers.AutoModelForImageClassification.from_config(config).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    network.save_pretrained(folder, **options)
    if processor is not None:
        processor.save_pretrained(folder)
    return network


def complete(archive: Path, **fields: Any) -> Release:
    new = NewRelease(name="one", architecture="huggingface", upload="a" * 64, **fields)
    entry = build_release(new, new.classes or [], tenant=None)
    entry = entry.model_copy(update={"key": None, "sha256": None, "weights": archive})
    return complete_release(entry, WeightFiles(), ignore)


def load(folder: Path, **fields: Any) -> tuple[nn.Module, Release, str]:
    with packed(folder) as archive:
        release = complete(archive, **fields)
        loaded = Loader().load(release, CPU)
    return loaded.network, release, " ".join(loaded.description.notes)


def pictures() -> list[Image.Image]:
    rows, columns = np.mgrid[0:180, 0:240]
    waves = [128 + 100 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((9, 17), (23, 11), (13, 31))]
    drawn = Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))
    bee = Image.open(PICTURES / "bee.png").convert("RGB").resize((300, 220))
    return [bee, drawn, drawn.transpose(Image.Transpose.ROTATE_90)]


@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_an_image_classifier_of_transformers_loads_with_its_scores_classes_and_preprocessing(
    tmp_path: Path, transformers: Any, make: Callable[[Any], tuple[Any, Any]]
) -> None:
    parts = make(transformers)
    plain = save(tmp_path, parts, transformers)
    network, release, _ = load(tmp_path)
    assert release.classes == list(NAMES.values())
    assert release.from_folder == []
    for picture in pictures():
        theirs = parts[1](images=picture, return_tensors="pt")["pixel_values"]  # (1, C, H, W)
        assert measure_difference(picture, theirs[0].numpy(), release.preprocessing) <= TOLERANCE
        with torch.no_grad():
            assert torch.allclose(network(theirs).logits, plain(theirs).logits, atol=1e-5)


def test_a_picture_of_the_input_size_has_the_same_scores_after_our_preprocessing(
    tmp_path: Path, transformers: Any
) -> None:
    parts = make_vit(transformers)
    plain = save(tmp_path, parts, transformers)
    network, release, _ = load(tmp_path)
    picture = pictures()[0].resize((32, 32))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (release.preprocessing.mean, release.preprocessing.std))
    ours = (to_tensor(crop_levels(np.asarray(picture), release.preprocessing)) - mean) / std
    theirs = parts[1](images=picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        assert torch.allclose(network(ours[None]).logits, plain(theirs).logits, atol=1e-5)


def test_weights_may_be_split_and_pickled(tmp_path: Path, transformers: Any) -> None:
    plain = save(tmp_path / "split", make_vit(transformers), transformers, max_shard_size="20KB")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 1
    state = {}
    for file in (tmp_path / "split").glob("*.safetensors"):
        state |= load_file(file)
    (tmp_path / "pickled").mkdir()
    for file in (tmp_path / "split").glob("*config.json"):
        (tmp_path / "pickled" / file.name).write_bytes(file.read_bytes())
    torch.save(state, tmp_path / "pickled" / "pytorch_model.bin")
    inputs = torch.rand(2, 3, 32, 32)
    for folder in ("split", "pickled"):
        network, _, _ = load(tmp_path / folder)
        with torch.no_grad():
            assert torch.allclose(network(inputs).logits, plain(inputs).logits, atol=1e-6)


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path, transformers: Any) -> None:
    save(tmp_path, make_vit(transformers), transformers)
    state = {name: value.half() for name, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, dtype="float16")
    network, _, _ = load(tmp_path)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_several_labels_per_image_are_read_with_a_sigmoid(tmp_path: Path, transformers: Any) -> None:
    save(tmp_path, make_vit(transformers, problem_type="multi_label_classification"), transformers)
    assert load(tmp_path)[1].output.kind == "sigmoid_logits"
    assert load(tmp_path, output={"kind": "softmax_logits"})[1].output.kind == "softmax_logits"


def test_what_the_registration_gives_is_kept(tmp_path: Path, transformers: Any) -> None:
    save(tmp_path, make_vit(transformers), transformers)
    own = Preprocessing(size=(32, 32), resize=40)
    _, release, _ = load(tmp_path, classes=["x", "y", "z"], preprocessing=own)
    assert (release.classes, release.preprocessing) == (["x", "y", "z"], own)


def test_a_folder_without_image_processor_is_told(tmp_path: Path, transformers: Any) -> None:
    save(tmp_path, (make_vit(transformers)[0], None), transformers)
    _, release, notes = load(tmp_path)
    assert release.preprocessing.size == (32, 32)
    assert "no preprocessor_config.json" in notes


def change(folder: Path, name: str = "config.json", **fields: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "code": (lambda folder: change(folder, auto_map={"AutoModel": "evil.Model"}), "never run"),
    "code of the processor": (
        lambda folder: change(folder, "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.P"}),
        "never run",
    ),
    "unknown type": (lambda folder: change(folder, model_type="nonesuch"), "does not have"),
    "no image classifier": (lambda folder: change(folder, model_type="bert"), "no image classifier"),
    "regression": (lambda folder: change(folder, problem_type="regression"), "regression"),
    "quantized": (lambda folder: change(folder, quantization_config={"bits": 4}), "quantized"),
    "invalid": (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
    "missing": (lambda folder: change(folder, num_hidden_layers=3), "missing"),
    "shapes": (lambda folder: change(folder, hidden_size=64), "of another shape"),
    "padding": (
        lambda folder: change(
            folder,
            "preprocessor_config.json",
            image_processor_type="MobileViTImageProcessor",
            do_center_crop=True,
            crop_size={"height": 64, "width": 64},
        ),
        "does more than resize, crop and normalize",
    ),
    "nan": (lambda folder: spoil(folder, lambda value: value * float("nan")), "NaN"),
    "integers": (lambda folder: spoil(folder, lambda value: value.to(torch.int8)), "I8"),
}


def spoil(folder: Path, spoiled: Callable[[torch.Tensor], torch.Tensor]) -> None:
    state = load_file(folder / "model.safetensors")
    state["classifier.weight"] = spoiled(state["classifier.weight"])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, transformers: Any, case: str) -> None:
    save(tmp_path, make_vit(transformers), transformers)
    spoil_folder, message = REFUSED[case]
    spoil_folder(tmp_path)
    with pytest.raises(UnloadableModel, match=message) as error:
        load(tmp_path)
    assert "weights_only" not in str(error.value)


def test_code_in_pickled_weights_of_a_folder_is_not_run(tmp_path: Path, transformers: Any) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    save(tmp_path, make_vit(transformers), transformers)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1), "b": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UnloadableModel, match="code"):
        load(tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def timm() -> Any:
    import_torchvision()
    import timm

    return timm


def save_timm(folder: Path, timm: Any, name: str, **options: Any) -> nn.Module:
    """Saves a network as timm's `save_for_hf` does."""
    from timm.models import save_for_hf

    with torch.random.fork_rng():
        torch.manual_seed(1)
        network: nn.Module = timm.create_model(name, num_classes=3, **options).eval()
    labels = {"label_names": list(NAMES.values())}
    save_for_hf(network, folder, model_config=labels, safe_serialization=True)
    return network


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet10t", {}), ("test_vit", {}), ("test_vit", {"img_size": 96}), ("test_efficientnet", {})],
)
def test_a_folder_of_timm_loads_with_its_scores_classes_and_preprocessing(
    tmp_path: Path, timm: Any, name: str, options: dict[str, Any]
) -> None:
    plain = save_timm(tmp_path, timm, name, **options)
    network, release, _ = load(tmp_path)
    assert release.classes == list(NAMES.values())
    config = timm.data.resolve_model_data_config(plain)
    transform = timm.data.create_transform(**config, is_training=False)
    for picture in pictures():
        theirs = transform(picture)  # (C, H, W)
        assert tuple(theirs.shape[1:]) == release.preprocessing.size
        assert measure_difference(picture, theirs.numpy(), release.preprocessing) <= TOLERANCE
        with torch.no_grad():
            assert torch.allclose(network(theirs[None]), plain(theirs[None]), atol=1e-5)


def test_a_folder_of_timm_in_the_wrapper_of_transformers_loads(tmp_path: Path, timm: Any, transformers: Any) -> None:
    plain = save_timm(tmp_path, timm, "test_vit")
    state = {f"timm_model.{name}": value for name, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, model_type="timm_wrapper", architectures=["TimmWrapperForImageClassification"])
    network, _, notes = load(tmp_path)
    inputs = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.allclose(network(inputs), plain(inputs), atol=1e-6)
    assert "`timm_model.` was removed" in notes


def test_a_folder_of_timm_that_would_load_other_weights_is_refused(tmp_path: Path, timm: Any) -> None:
    save_timm(tmp_path, timm, "test_vit")
    change(tmp_path, model_args={"checkpoint_path": "/etc/passwd"})
    with pytest.raises(UnloadableModel, match="load other weights"):
        load(tmp_path)


def test_a_folder_of_timm_without_class_names_has_numbered_classes(tmp_path: Path, timm: Any) -> None:
    save_timm(tmp_path, timm, "test_vit")
    config = json.loads((tmp_path / "config.json").read_text())
    for part in (config, config["pretrained_cfg"]):
        part.pop("label_names", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path)[1].classes == ["class 0", "class 1", "class 2"]


def test_a_tar_archive_of_a_folder_loads(tmp_path: Path, timm: Any) -> None:
    save_timm(tmp_path / "folder", timm, "test_vit")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(tmp_path / "folder", arcname="my-model")
    (tmp_path / "model.tar.gz").write_bytes(buffer.getvalue())
    release = complete(tmp_path / "model.tar.gz")
    assert Loader().load(release, CPU).network(torch.zeros(1, 3, 160, 160)).shape == (1, 3)
