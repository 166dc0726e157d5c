"""Networks are built, filled and tried; what does not fit is said."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from shared.catalogue import Preprocessing, Release, load_catalogue
from shared.errors import UnloadableModel
from tests.conftest import write_catalogue
from tests.networks import Small, seeded
from worker import published
from worker.downloads import Cache, Report, ignore
from worker.engine.torchvision_import import import_torchvision
from worker.networks import Loaded, Loader, Networks
from worker.preprocess import to_tensor
from worker.shapes.network import ShapesNetwork
from worker.view import crop_levels
from worker.weight_files import WeightFiles

CPU = torch.device("cpu")
FACTORIES = {"small": "tests.networks:Small", "cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}
LOADER = Loader(FACTORIES)


def entry(**changes: object) -> Release:
    fields = {
        "name": "small", "architecture": "factory:small", "classes": list("abcde"),
        "preprocessing": Preprocessing(size=(16, 16)), **changes,
    }  # fmt: skip
    return Release.model_validate(fields)


def test_weights_are_read_with_the_usual_wrappings(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    wrapped = {f"module.{name}": value for name, value in state.items() if "num_batches" not in name}
    torch.save({"state_dict": wrapped, "best": 91.5}, tmp_path / "wrapped.th")
    for name in ("plain.safetensors", "plain.pt", "wrapped.th"):
        loaded = LOADER.load(entry(weights=tmp_path / name), CPU)
        assert torch.equal(loaded.network.classifier.weight, state["classifier.weight"])


class Code:
    """Something that a pickle would run."""


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
def test_what_cannot_be_built_says_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UnloadableModel, match=message):
        LOADER.load(entry(**changes), CPU)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    bad = {
        "missing": {name: value for name, value in state.items() if name != "classifier.bias"},
        "unexpected": {**state, "extra": torch.zeros(1)},
        "shape": {**state, "classifier.bias": torch.zeros(6)},
        "text": {"a": "b"},
        "code": Code(),
    }
    for name, content in bad.items():
        torch.save(content, tmp_path / f"{name}.pt")
        expected = {"missing": "classifier.bias", "unexpected": "extra", "shape": "classifier.bias"}.get(
            name, f"{name}.pt"
        )
        with pytest.raises(UnloadableModel, match=expected):
            LOADER.load(entry(weights=tmp_path / f"{name}.pt"), CPU)


def test_a_digest_that_differs_is_refused(tmp_path: Path) -> None:
    save_file(seeded(Small).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UnloadableModel, match="digest"):
        LOADER.load(entry(weights=tmp_path / "w.safetensors", sha256="0" * 64), CPU)


def test_the_least_recently_used_network_is_dropped() -> None:
    size = LOADER.load(entry(), CPU).bytes
    networks = Networks(LOADER, device=CPU, memory=2 * size)
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


def test_torchvision_works_beside_this_torch() -> None:
    models = import_torchvision().models
    assert models.squeezenet1_0().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_real_cifar_checkpoints_are_loaded_and_see(models: Path, images: Path, tmp_path: Path, depth: int) -> None:
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


def test_the_view_is_the_centre_at_the_networks_size() -> None:
    wide = np.tile(np.arange(200, dtype=np.uint8)[:, None], (100, 1, 3))
    view = crop_levels(wide, Preprocessing(size=(50, 50)))
    assert view.shape == (50, 50, 3)
    assert abs(int(view[25, 0, 0]) - 50) <= 2
    assert abs(int(view[25, -1, 0]) - 149) <= 2
    assert crop_levels(wide, Preprocessing(size=(50, 50), fit="stretch"))[25, 0, 0] < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5)])
def test_a_picture_of_any_shape_gives_a_view(size: tuple[int, int]) -> None:
    assert crop_levels(np.zeros((size[1], size[0], 3), np.uint8), Preprocessing(size=(32, 48), resize=64)).shape == (
        32,
        48,
        3,
    )


def test_published_weights_are_fetched_and_fill_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = entry(architecture="timm:resnet10t.c3_in1k", published=True, preprocessing=Preprocessing(size=(64, 64)))
    state = LOADER.load(release.model_copy(update={"published": False}), CPU).network.state_dict()
    data = save({name: value + 1 for name, value in state.items()})
    asked = []

    def open_url(url: str):
        asked.append(url)
        yield data, len(data)

    monkeypatch.setattr(published, "open_url", open_url)
    loader = Loader(files=WeightFiles(Cache(tmp_path)))
    for _ in range(2):
        loaded = loader.load(release, CPU)
        assert torch.equal(loaded.network.fc.bias, state["fc.bias"] + 1)
    assert asked == ["https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"]
    damaged = release.model_copy(update={"architecture": "torchvision:squeezenet1_0"})
    with pytest.raises(UnloadableModel, match="should begin with"):
        loader.load(damaged, CPU)


def test_published_weights_of_an_old_densenet_are_renamed(tmp_path: Path) -> None:
    release = entry(architecture="torchvision:densenet121", preprocessing=Preprocessing(size=(32, 32)))
    state = LOADER.load(release, CPU).network.state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value for name, value in state.items()}
    assert set(old) != set(state)
    save_file({name: value.clone() for name, value in old.items()}, tmp_path / "old.safetensors")
    LOADER.load(release.model_copy(update={"weights": tmp_path / "old.safetensors"}), CPU)


def test_weights_are_recognised_by_what_they_are_not_by_their_name(tmp_path: Path) -> None:
    state = seeded(Small).state_dict()
    save_file(state, tmp_path / "weights.bin")
    torch.save({"model": state}, tmp_path / "weights.safetensors")
    for name in ("weights.bin", "weights.safetensors"):
        loaded = LOADER.load(entry(weights=tmp_path / name), CPU)
        assert torch.equal(loaded.network.classifier.weight, state["classifier.weight"])


def test_half_precision_fills_a_network_of_single(tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in seeded(Small).state_dict().items()}, tmp_path / "half.safetensors")
    loaded = LOADER.load(entry(weights=tmp_path / "half.safetensors"), CPU)
    assert {weight.dtype for weight in loaded.network.parameters()} == {torch.float32}


def test_without_weights_a_network_is_the_same_every_time() -> None:
    release = entry(architecture="timm:resnet10t", preprocessing=Preprocessing(size=(64, 64)))
    assert LOADER.load(release, CPU).sha256 == LOADER.load(release, CPU).sha256


def test_programs_are_code_and_not_loaded_unless_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "small.pt2").write_bytes(b"PK")
    release = entry(architecture="program", weights=tmp_path / "small.pt2")
    with pytest.raises(UnloadableModel, match="ARCHETYPE_ALLOW_PROGRAMS"):
        LOADER.load(release, CPU)
    with pytest.raises(UnloadableModel, match="no program"):
        Loader(programs=True).load(release, CPU)


def test_where_memory_runs_out_idle_networks_make_room() -> None:
    class Tight(Loader):
        def load(self, release: Release, device: torch.device, report: Report = ignore) -> Loaded:
            if networks.references:
                raise torch.OutOfMemoryError("no room beside another")
            return super().load(release, device, report)

    networks = Networks(Tight(FACTORIES), device=CPU)
    networks.load(entry(release="1"))
    networks.load(entry(release="2"))
    assert networks.references == ["small@2"]


def test_a_worker_that_starts_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_url(url: str):
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(published, "open_url", open_url)
    files = WeightFiles(Cache(tmp_path))
    assert files.is_here(entry())
    for architecture in ("torchvision:resnet18", "timm:resnet10t.c3_in1k"):
        assert not files.is_here(entry(architecture=architecture, published=True))
    assert not files.is_here(entry(key="exports/x"))


def test_what_is_built_in_takes_other_weights_where_some_are_given(tmp_path: Path) -> None:
    shipped = load_catalogue(None).find("shapes")
    save_file(ShapesNetwork(len(shipped.classes)).state_dict(), tmp_path / "other.safetensors")
    release = shipped.model_copy(update={"release": "other", "weights": tmp_path / "other.safetensors"})
    found, _ = WeightFiles().find(release)
    assert found == tmp_path / "other.safetensors"
    assert WeightFiles().find(shipped)[0] != found
