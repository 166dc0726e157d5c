"""Checkpoints load as `load_state_dict` loads them: wrappers are removed, extras told, other networks refused."""

import argparse
import copy
import datetime
import enum
import pathlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.support.networks import Small, seeded
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.build_network import build_network

FACTORIES = {
    "small": "tests.support.networks:Small",
    "wrapped": f"{__name__}:Wrapped",
    "versioned": f"{__name__}:Versioned",
    "compiled": f"{__name__}:Compiled",
}


class Wrapped(nn.Module):
    """A network whose own names begin with `module.`."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Small()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


class Compiled(nn.Module):
    """A network with names as `torch.compile` gives them to a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body._orig_mod = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.body._orig_mod(x.mean((2, 3)))


class Versioned(nn.Module):
    """A network whose layer had another name in version 1; like MNASNet, it takes no weights without a version."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.first(x.mean((2, 3))))

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: dict[str, Any], *rest: Any) -> None:
        version = metadata.get("version")
        if version not in (1, 2):
            raise ValueError(f"version should be 1 or 2, not {version}")
        if version == 1:
            for name in ("weight", "bias"):
                state[f"{prefix}fc.{name}"] = state.pop(f"{prefix}linear.{name}")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., tuple[nn.Module, str]]:
    """A function that saves a content, and returns the network that it fills, and what was noticed."""

    def run(content: Any, architecture: str = "factory:small", **fields: Any) -> tuple[nn.Module, str]:
        path = tmp_path / "weights"
        torch.save(content, path)
        network, notes = build_network(entry(architecture, **fields), path, FACTORIES)
        return network, " ".join(notes)

    return run


def entry(architecture: str, **fields: Any) -> Release:
    defaults = {"classes": list("abcde"), "preprocessing": Preprocessing(size=(32, 32))}
    return Release.model_validate({"name": "one", "architecture": architecture, **defaults, **fields})


def state_of(network: nn.Module | None = None) -> OrderedDict[str, Tensor]:
    return OrderedDict((network or seeded(Small)).state_dict())


def assert_equal(network: nn.Module, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert set(own) == set(state)
    assert all(torch.equal(own[name], value) for name, value in state.items())


def prefixed(prefix: str, state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in (state or state_of()).items()}


PREFIXES = ("module.", "model.", "backbone.", "net.", "encoder.", "_orig_mod.", "model.module._orig_mod.", "a.b.c.d.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_are_removed_and_told(fill, prefix: str) -> None:
    network, notes = fill({"state_dict": prefixed(prefix)})
    assert_equal(network, state_of())
    assert f"The prefix `{prefix}` was removed" in notes


@pytest.mark.parametrize("part", ["_orig_mod", "module", "_fsdp_wrapped_module", "module._orig_mod"])
def test_parts_of_wrappers_in_the_middle_of_names_are_removed(fill, part: str) -> None:
    renamed = {name.replace("features.", f"features.{part}."): value for name, value in state_of().items()}
    network, _ = fill(prefixed("module.", renamed))
    assert_equal(network, state_of())


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_a_prefix_that_the_network_has_itself_is_kept(fill, prefix: str) -> None:
    state = state_of(seeded(Wrapped))
    network, _ = fill(prefixed(prefix, state), "factory:wrapped")
    assert_equal(network, state)


def test_a_prefix_that_only_the_network_has_is_added(fill) -> None:
    network, notes = fill(state_of(), "factory:wrapped")
    assert_equal(network.module, state_of())
    assert "The prefix `module.` was added" in notes


def test_names_of_a_compiled_part_fit_with_and_without_its_mark(fill) -> None:
    state = state_of(seeded(Compiled))
    for content in (state, {name.replace("_orig_mod.", ""): value for name, value in state.items()}):
        network, _ = fill(content, "factory:compiled")
        assert_equal(network, state)


@pytest.mark.parametrize("keys", ["state_dict", "model", "model_state_dict", "net", "weights", "params", "a.b.model"])
def test_weights_are_found_under_any_keys(fill, keys: str) -> None:
    content: Any = state_of()
    for key in reversed(keys.split(".")):
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}}
    network, _ = fill(content)
    assert_equal(network, state_of())


def test_the_parts_of_a_network_may_lie_in_dictionaries_of_their_own(fill) -> None:
    parts: dict[str, dict[str, Tensor]] = {"features": {}, "classifier": {}}
    for name, value in state_of().items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    network, _ = fill({"model": parts, "epoch": 1})
    assert_equal(network, state_of())


def test_wrappers_of_pytorch_and_lightning_load(fill) -> None:
    small = seeded(Small)
    lightning = {"state_dict": prefixed("model."), "pytorch-lightning_version": "2.5", "loops": {}, "callbacks": {}}
    for content in (torch.optim.swa_utils.AveragedModel(small).state_dict(), lightning):
        network, _ = fill(content)
        assert_equal(network, state_of())


def test_versions_of_modules_reach_the_hooks_of_the_network(fill, tmp_path: Path) -> None:
    current = seeded(Versioned).state_dict()
    old = OrderedDict((name.replace("fc.", "linear."), value) for name, value in current.items())
    old._metadata = OrderedDict({"": {"version": 1}, "linear": {"version": 1}})
    wrapped = OrderedDict(prefixed("module.", old))
    wrapped._metadata = OrderedDict({"": {"version": 1}, "module": {"version": 1}, "module.linear": {"version": 1}})
    for content in (current, dict(current), old, {"state_dict": wrapped}, prefixed("module.", current)):
        network, _ = fill(content, "factory:versioned")
        assert_equal(network, current)
    save_file(current, tmp_path / "plain.safetensors")  # which has no versions: they are the current ones
    network, _ = build_network(entry("factory:versioned"), tmp_path / "plain.safetensors", FACTORIES)
    assert_equal(network, current)


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v3_small", "densenet121"])
def test_networks_of_torchvision_load_their_weights_with_and_without_versions(fill, name: str) -> None:
    models = import_torchvision().models
    state = models.get_model(name, num_classes=5).state_dict()
    for content in (state, {"state_dict": prefixed("module.", state)}):
        network, _ = fill(content, f"torchvision:{name}")
        assert_equal(network, state)


def test_old_names_of_vision_transformers_load(fill, monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_torchvision().models
    arguments = {"patch_size": 32, "num_layers": 1, "num_heads": 2, "hidden_dim": 64, "mlp_dim": 128}
    tiny = models.VisionTransformer(image_size=64, num_classes=5, **arguments)
    monkeypatch.setitem(FACTORIES, "tiny", f"{__name__}:tiny_vit")
    state = tiny.state_dict()
    renamed = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."}
    old = {
        next((name.replace(new, was) for new, was in renamed.items() if new in name), name): value
        for name, value in state.items()
    }
    assert set(old) != set(state)
    for content in (old, {"model": prefixed("module.", old)}):
        network, _ = fill(content, "factory:tiny")
        assert_equal(network, state)


def tiny_vit() -> nn.Module:
    return import_torchvision().models.VisionTransformer(64, 32, 1, 2, 64, 128, num_classes=5)


def test_timm_converts_weights_of_older_versions(fill) -> None:
    import_torchvision()
    import timm

    state = timm.create_model("convnext_atto", num_classes=5).state_dict()
    # The names of the authors' files, before timm arranged the layers anew.
    old = {_name_as_facebook_did(name): value for name, value in state.items()}
    assert set(old) != set(state)
    network, notes = fill({"model": old}, "timm:convnext_atto", preprocessing=Preprocessing(size=(64, 64)))
    assert_equal(network, state)
    assert "timm converted" in notes


def _name_as_facebook_did(name: str) -> str:
    for new, was in (("stem.", "downsample_layers.0."), ("head.norm.", "norm."), ("head.fc.", "head.")):
        if name.startswith(new):
            return name.replace(new, was)
    parts = name.split(".")
    if parts[:1] == ["stages"] and parts[2] == "downsample":
        return ".".join(["downsample_layers", parts[1], *parts[3:]])
    if parts[:1] == ["stages"]:
        name = ".".join([*parts[:2], *parts[3:]])
    for new, was in (("conv_dw", "dwconv"), ("mlp.fc1", "pwconv1"), ("mlp.fc2", "pwconv2")):
        name = name.replace(new, was)
    return name


def test_extra_entries_are_ignored_and_told(fill) -> None:
    extras = {
        "criterion.pos_weight": torch.ones(3), "total_ops": torch.zeros(1), "features.0.total_params": torch.zeros(1),
        "aux1.fc.weight": torch.ones(2, 2), "n_averaged": torch.tensor(5), "epoch": 3,
    }  # fmt: skip
    network, notes = fill({**state_of(), **extras})
    assert_equal(network, state_of())
    assert "5 entries of the file that the network does not have were ignored" in notes
    assert "criterion.pos_weight" in notes
    assert "aux1.fc.weight" in notes


def test_old_checkpoints_without_batch_norm_counters_load_silently(fill) -> None:
    state = {name: value for name, value in state_of().items() if "num_batches" not in name}
    network, notes = fill(state)
    assert torch.equal(network.classifier.weight, state["classifier.weight"])
    assert notes == ""


AVERAGED = ["model_ema", "ema", "ema_state_dict", "state_dict_ema", "model_averaged", "swa_state_dict", "modelEMA"]


@pytest.mark.parametrize("key", AVERAGED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_raw_weights_are_used_rather_than_averaged_ones_and_the_release_can_choose(fill, key: str, prefix: str) -> None:
    raw = state_of()
    averaged = {name: value + 1 for name, value in raw.items()}
    content = {key: prefixed(prefix, averaged), "model": raw}
    network, notes = fill(content)
    assert_equal(network, raw)
    assert "raw and averaged (EMA) weights; the raw ones under `model` were used" in notes
    assert f"Set `state_dict` to `{key}" in notes
    network, _ = fill(content, state_dict=key)
    assert_equal(network, averaged)


def test_averaged_weights_under_a_prefix_are_not_used_beside_raw_ones(fill) -> None:
    raw = state_of()
    averaged = {name: value + 1 for name, value in raw.items()}
    content = {"state_dict": {**prefixed("ema_model.", averaged), **prefixed("model.", raw)}}
    network, notes = fill(content)
    assert_equal(network, raw)
    assert "Set `state_dict` to `state_dict.ema_model`" in notes
    network, _ = fill(content, state_dict="ema_model")
    assert_equal(network, averaged)


def test_raw_weights_are_used_even_if_more_of_their_names_is_changed(fill) -> None:
    raw = {name.replace("features.", "features._orig_mod."): value for name, value in state_of().items()}
    averaged = {name: value + 1 for name, value in state_of().items()}
    network, notes = fill({"state_dict": {**prefixed("model.", raw), **prefixed("ema.", averaged)}})
    assert_equal(network, state_of())
    assert "raw and averaged (EMA) weights" in notes


def test_averaged_weights_alone_are_used_and_told(fill) -> None:
    network, notes = fill({"state_dict_ema": prefixed("module."), "epoch": 3})
    assert_equal(network, state_of())
    assert "The weights are averaged (EMA); they were read under `state_dict_ema" in notes


def test_two_state_dicts_that_fit_are_told(fill) -> None:
    other = {name: value + 1 for name, value in state_of().items()}
    network, notes = fill({"teacher": other, "student": state_of()})
    assert_equal(network, state_of())
    assert "several state dicts that fit; the one under `student` was used" in notes


def test_an_unknown_state_dict_is_refused_with_those_that_exist(fill) -> None:
    with pytest.raises(UnloadableModel, match=r"no state dict 'best' \(it has ema, model\)"):
        fill({"model": state_of(), "ema": state_of()}, state_dict="best")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_are_converted_and_told(fill, dtype: torch.dtype) -> None:
    cast = {name: v.to(dtype) if v.is_floating_point() else v for name, v in state_of().items()}
    network, notes = fill(cast)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert torch.equal(network.classifier.weight, cast["classifier.weight"].float())
    assert f"converted from {str(dtype).removeprefix('torch.')} to float32" in notes


def _changed(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {name: change(v) if name == "classifier.weight" else v for name, v in state_of().items()}


BROKEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "int8": (lambda v: v.to(torch.int8), "classifier.weight is int8"),
    "bool": (lambda v: v > 0, "classifier.weight is bool"),
    "complex": (lambda v: v.to(torch.complex64), "classifier.weight is complex64"),
    "nan": (lambda v: v * float("nan"), "1 of its weights is NaN or infinite"),
    "infinite": (lambda v: v / 0, "1 of its weights is NaN or infinite"),
    "too large": (lambda v: v.double() * 1e300, "1 of its weights is NaN or infinite"),
    "meta": (lambda v: v.to("meta"), "classifier.weight is without values"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_values_that_are_not_weights_are_refused_with_their_names(fill, case: str) -> None:
    change, message = BROKEN[case]
    with pytest.raises(UnloadableModel, match=message) as error:
        fill(_changed(change))
    assert "classifier.weight" in str(error.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_weights_are_refused_in_a_sentence(fill) -> None:
    with pytest.raises(UnloadableModel, match="quantized"):
        fill(_changed(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)))


def test_a_running_variance_that_is_nan_is_refused(fill) -> None:
    state = state_of()
    state["features.1.running_var"] = state["features.1.running_var"] * float("nan")
    with pytest.raises(UnloadableModel, match="running_var"):
        fill(state)


def test_another_number_of_classes_is_told(fill) -> None:
    with pytest.raises(UnloadableModel, match="the file has 5 classes, the release names 3"):
        fill(state_of(), arguments={"classes": 3}, classes=["a", "b", "c"])


def test_the_weights_of_another_architecture_are_recognized(fill) -> None:
    models = import_torchvision().models
    state = prefixed("module.", models.resnet34(num_classes=7).state_dict())
    with pytest.raises(UnloadableModel, match="its names and shapes are those of torchvision:resnet34"):
        fill(state, "torchvision:resnet18")


def test_missing_names_are_listed(fill) -> None:
    state = {name: value for name, value in state_of().items() if name != "classifier.bias"}
    with pytest.raises(UnloadableModel, match=r"1 missing \(classifier.bias\)"):
        fill({"state_dict": prefixed("module.", state)})


class Color(enum.Enum):
    RED = 1


class Settings(dict):  # type: ignore[type-arg]
    """A dictionary of settings, as configuration libraries define it."""

    def __init__(self, **values: Any) -> None:
        super().__init__(values)
        self.frozen = True


def test_objects_of_other_classes_in_a_file_are_skipped_and_told(fill) -> None:
    beside = {
        "args": argparse.Namespace(lr=1, path=pathlib.Path("/tmp/x")),
        "best": np.float64(0.9),
        "curve": np.arange(3),
        "when": datetime.datetime(2026, 1, 1),
        "color": Color.RED,
        "history": defaultdict(list, {"loss": [1.0]}),
        "config": Settings(lr=1),
        "shape": torch.Size([1]),
        "scheduler": torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)]), 1),
    }
    network, notes = fill({"state_dict": state_of(), **beside})
    assert_equal(network, state_of())
    for name in ("argparse.Namespace", "datetime.datetime"):
        assert name in notes


def test_a_whole_pickled_network_is_refused_with_its_class_and_the_way_to_save_its_weights(fill) -> None:
    for content in (seeded(Small), {"model": seeded(Small), "epoch": 1}):
        with pytest.raises(UnloadableModel) as error:
            fill(content)
        assert "Small" in str(error.value)
        assert "torch.save(network.state_dict(), path)" in str(error.value)
        assert "weights_only" not in str(error.value)


def test_loading_does_not_change_the_weights_of_the_file_in_place(fill) -> None:
    content = state_of()
    before = copy.deepcopy(content)
    fill(content)
    assert all(torch.equal(content[name], value) for name, value in before.items())
