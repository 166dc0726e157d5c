"""Networks are built, filled with weights, described and cached; errors say what does not fit."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from archetype.contract.model import Preprocessing
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.conftest import write_catalogue
from tests.support.networks import Small, seeded, with_statistics
from worker.engine.model.torchvision_import import import_torchvision
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import crop_levels
from worker.models import published_weights as published
from worker.models.download_cache import DownloadCache, Report, ignore
from worker.models.huggingface import hub
from worker.models.loader import LoadedModel, Loader, ModelCache
from worker.models.weight_files import WeightFiles
from worker.shapes.network import ShapesNetwork

CPU = torch.device("cpu")
FACTORIES = {"small": "tests.support.networks:Small", "cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}
LOADER = Loader(FACTORIES)


def entry(**changes: object) -> Release:
    fields = {
        "name": "small",
        "architecture": "factory:small",
        "classes": list("abcde"),
        "preprocessing": Preprocessing(size=(16, 16)),
        **changes,
    }
    return Release.model_validate(fields)


def test_weights_are_read_from_files_with_the_usual_wrappings(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    wrapped = {f"module.{name}": value for name, value in state.items() if "num_batches" not in name}
    torch.save({"state_dict": wrapped, "best": 91.5}, tmp_path / "wrapped.th")
    for name in ("plain.safetensors", "plain.pt", "wrapped.th"):
        loaded = LOADER.load(entry(weights=tmp_path / name), CPU)
        assert torch.equal(loaded.network.classifier.weight, state["classifier.weight"])


class Code:
    """An object that a pickle would create by running code."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "torchvision:resnet19"}, "resnet19"),
        ({"architecture": "torchvision:fasterrcnn_resnet50_fpn"}, "fasterrcnn"),
        ({"architecture": "factory:large"}, "ARCHETYPE_FACTORIES"),
        ({"arguments": {"depth": 3}}, "cannot be built"),
        ({"classes": ["a", "b"]}, "5 scores for 2"),
        ({"weights": Path("none.safetensors")}, "none.safetensors"),
    ],
)
def test_an_error_says_why_a_network_cannot_be_built(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UnloadableModel, match=message):
        LOADER.load(entry(**changes), CPU)


def test_weights_that_do_not_fit_are_refused_with_their_names(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    bad = {
        "missing": {name: value for name, value in state.items() if name != "classifier.bias"},
        "shape": {**state, "classifier.bias": torch.zeros(6)},
        "text": {"a": "b"},
        "code": Code(),
    }
    for name, content in bad.items():
        torch.save(content, tmp_path / f"{name}.pt")
        expected = {"missing": "classifier.bias", "shape": "classifier.bias"}.get(name, f"{name}.pt")
        with pytest.raises(UnloadableModel, match=expected):
            LOADER.load(entry(weights=tmp_path / f"{name}.pt"), CPU)


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    save_file(seeded(Small).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UnloadableModel, match="digest"):
        LOADER.load(entry(weights=tmp_path / "w.safetensors", sha256="0" * 64), CPU)


def test_the_least_recently_used_network_leaves_the_cache() -> None:
    size = ModelCache(LOADER, device=CPU).load(entry()).bytes
    networks = ModelCache(LOADER, device=CPU, memory=2 * size)
    first = networks.load(entry(release="1"))
    networks.load(entry(release="2"))
    assert networks.load(entry(release="1")) is first
    networks.load(entry(release="3"))
    assert networks.load(entry(release="1")) is first


def test_a_description_lists_layers_with_their_shapes() -> None:
    loaded = LOADER.load(entry(), CPU)
    description = loaded.description
    layer = next(layer for layer in description.layers if layer.name == "features.4")
    assert (layer.kind, layer.shape) == ("Conv2d", [8, 4, 4])
    assert not any(module._forward_hooks for module in loaded.network.modules())


def test_torchvision_works_with_this_build_of_torch() -> None:
    models = import_torchvision().models
    assert models.squeezenet1_0().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_real_cifar_checkpoints_classify_real_images(models: Path, images: Path, tmp_path: Path, depth: int) -> None:
    release = load_catalogue(write_catalogue(tmp_path)).find(f"resnet{depth}")
    loaded = LOADER.load(release, CPU)
    paths = sorted((images / "cifar10").glob("*.png"))
    views = [crop_levels(np.asarray(Image.open(path).convert("RGB")), release.preprocessing) for path in paths]
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (release.preprocessing.mean, release.preprocessing.std)
    )
    with torch.no_grad():
        predicted = loaded.network(torch.stack([(to_tensor(view) - mean) / std for view in views])).argmax(1)
    truth = torch.tensor([int(path.name.split("_")[0]) for path in paths])
    assert float((predicted == truth).float().mean()) >= 0.8


def test_published_weights_are_downloaded_once_and_fill_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = entry(architecture="timm:resnet10t.c3_in1k", published=True, preprocessing=Preprocessing(size=(64, 64)))
    state = LOADER.load(release.model_copy(update={"published": False}), CPU).network.state_dict()
    data = save({name: value + 1 for name, value in state.items()})
    asked = []

    def open_url(url: str):
        asked.append(url)
        yield data, len(data)

    for module in (published, hub):
        monkeypatch.setattr(module, "open_url", open_url)
    loader = Loader(files=WeightFiles(DownloadCache(tmp_path)))
    for _ in range(2):
        loaded = loader.load(release, CPU)
        assert torch.equal(loaded.network.fc.bias, state["fc.bias"] + 1)
    assert asked == ["https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"]
    damaged = release.model_copy(update={"architecture": "torchvision:squeezenet1_0"})
    with pytest.raises(UnloadableModel, match="should begin with"):
        loader.load(damaged, CPU)


def test_old_weight_names_of_densenet_are_updated(tmp_path: Path) -> None:
    release = entry(architecture="torchvision:densenet121", preprocessing=Preprocessing(size=(32, 32)))
    state = LOADER.load(release, CPU).network.state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value for name, value in state.items()}
    assert set(old) != set(state)
    save_file({name: value.clone() for name, value in old.items()}, tmp_path / "old.safetensors")
    LOADER.load(release.model_copy(update={"weights": tmp_path / "old.safetensors"}), CPU)


def test_the_format_of_weights_is_recognized_by_content_not_by_file_name(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    save_file(state, tmp_path / "weights.bin")
    torch.save({"model": state}, tmp_path / "weights.safetensors")
    for name in ("weights.bin", "weights.safetensors"):
        loaded = LOADER.load(entry(weights=tmp_path / name), CPU)
        assert torch.equal(loaded.network.classifier.weight, state["classifier.weight"])


def test_half_precision_weights_fill_a_float32_network(tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in seeded(Small).state_dict().items()}, tmp_path / "half.safetensors")
    loaded = LOADER.load(entry(weights=tmp_path / "half.safetensors"), CPU)
    assert {weight.dtype for weight in loaded.network.parameters()} == {torch.float32}


def test_a_network_without_weights_is_the_same_every_time() -> None:
    release = entry(architecture="timm:resnet10t", preprocessing=Preprocessing(size=(64, 64)))
    assert LOADER.load(release, CPU).sha256 == LOADER.load(release, CPU).sha256


def test_exported_programs_are_loaded_only_if_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "small.pt2").write_bytes(b"PK")
    release = entry(architecture="program", weights=tmp_path / "small.pt2")
    with pytest.raises(UnloadableModel, match="ARCHETYPE_EXPORTED_PROGRAMS"):
        LOADER.load(release, CPU)
    with pytest.raises(UnloadableModel, match="not a program"):
        Loader(programs=True).load(release, CPU)


def test_cached_networks_are_dropped_if_memory_runs_out() -> None:
    class Tight(Loader):
        def load(self, release: Release, device: torch.device, report: Report = ignore) -> LoadedModel:
            if networks.identities:
                raise torch.OutOfMemoryError("no room for a second network")
            return super().load(release, device, report)

    networks = ModelCache(Tight(FACTORIES), device=CPU)
    networks.load(entry(release="1"))
    networks.load(entry(release="2"))
    assert networks.identities == ["small@2"]


def test_weights_that_need_a_download_are_not_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_url(url: str):
        raise AssertionError(f"{url} was asked for")

    for module in (published, hub):
        monkeypatch.setattr(module, "open_url", open_url)
    files = WeightFiles(DownloadCache(tmp_path))
    assert files.is_local(entry())
    for architecture in ("torchvision:resnet18", "timm:resnet10t.c3_in1k"):
        assert not files.is_local(entry(architecture=architecture, published=True))
    assert not files.is_local(entry(key="exports/x"))


def test_a_built_in_network_takes_the_weights_of_its_catalogue_entry(tmp_path: Path) -> None:
    shipped = load_catalogue(None).find("shapes")
    save_file(ShapesNetwork(len(shipped.classes)).state_dict(), tmp_path / "other.safetensors")
    release = shipped.model_copy(update={"release": "other", "weights": tmp_path / "other.safetensors"})
    path, _ = WeightFiles().find(release)
    assert path == tmp_path / "other.safetensors"
    assert WeightFiles().find(shipped)[0] != path


def test_a_network_for_bgr_sees_blue_first_and_images_stay_rgb() -> None:
    shape = {"size": [16, 16], "mean": [0.1, 0.4, 0.7], "std": [0.2, 0.3, 0.4], "channel_order": "BGR"}
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4), requires_grad=True)
    with ModelCache(LOADER, device=CPU).open(entry(preprocessing=shape)) as (classifier, loaded):
        scores = classifier.scores(classifier.normalize(images))
        (gradient,) = torch.autograd.grad(scores[:, 1].sum(), images)
    mean, std = (torch.tensor(shape[name])[:, None, None] for name in ("mean", "std"))
    expected = loaded.network((images.flip(1) - mean) / std)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected[:, 1].sum(), images)[0])


class NormedHead(Small):
    """Ends in a batch norm and a softmax, behind a batch norm that can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(super().forward(x)).softmax(1)


def normed_head() -> torch.nn.Module:
    return with_statistics(seeded(NormedHead))


def test_scores_that_are_the_result_of_a_batch_norm_are_found_in_the_prepared_network() -> None:
    loader = Loader({"normed": f"{__name__}:normed_head"})
    images = torch.rand(3, 3, 16, 16)
    with ModelCache(loader, device=CPU).open(entry(architecture="factory:normed")) as (classifier, loaded):
        inputs = classifier.normalize(images)
        expected = loaded.network(inputs)
        torch.testing.assert_close(classifier.probabilities(inputs), expected)
        torch.testing.assert_close(classifier.scores(inputs).softmax(1), expected)
        assert classifier.reader.taps[0].function == "batch_norm"


def test_networks_of_two_tenants_with_the_same_name_are_cached_apart(tmp_path: Path) -> None:
    networks, found = ModelCache(Loader(FACTORIES), device=CPU), {}
    for seed, tenant in enumerate(("alice", "mallory")):
        path = tmp_path / f"{tenant}.safetensors"
        save_file({name: value + seed for name, value in seeded(Small).state_dict().items()}, path)
        found[tenant] = networks.load(entry(weights=path, tenant=tenant, namespace=tenant)).sha256
    assert found["alice"] != found["mallory"]
    assert networks.identities == ["alice/small@1", "mallory/small@1"]
