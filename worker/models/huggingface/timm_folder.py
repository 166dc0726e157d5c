"""Model folders that timm saves."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from archetype.contract.model import Output, Preprocessing
from shared.catalogue.release import WEIGHT_ARGUMENTS, Release
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.architectures import fixed_seeds
from worker.models.huggingface.archive import WEIGHTS, UnreadableFolder, list_shards
from worker.models.huggingface.preprocessing import Declared, derive_preprocessing
from worker.models.weights import WeightsFile, fill_weights, read_weights


def build(folder: Path, config: dict[str, Any], release: Release) -> tuple[nn.Module, list[str]]:
    """Builds the network as timm does, and loads its weights."""
    network = _build(folder, config, release.arguments)
    return network, fill_weights(network, read_folder_weights(folder, release), release)


def _build(folder: Path, config: dict[str, Any], arguments: Mapping[str, Any]) -> nn.Module:
    import_torchvision()  # timm imports torchvision, which must be prepared first
    import timm

    name, own = config["architecture"], config.get("model_args") or {}
    if not isinstance(name, str) or not timm.is_model(name):
        raise UnreadableFolder(
            f"names the architecture {name!r}, which this version of timm ({timm.__version__}) lacks"
        )
    forbidden = WEIGHT_ARGUMENTS & {*own, *arguments}
    if forbidden:
        raise UnreadableFolder(f"has arguments that load other weights ({', '.join(sorted(forbidden))}); remove them")
    with fixed_seeds():
        network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=False, **arguments)
    return network


def read_folder_weights(folder: Path, release: Release) -> WeightsFile:
    """Reads the weights of a folder, which may be split into several files."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return read_weights(folder / name, release)
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = [read_weights(folder / shard, release) for shard in list_shards(index)]
            content = {key: value for part in parts for key, value in part.content.items()}
            return WeightsFile(content, tuple(name for part in parts for name in part.skipped))
    raise UnreadableFolder("contains no weights")


def list_classes(config: dict[str, Any]) -> list[str]:
    """Returns the label names of the folder; without them, numbers."""
    settings = config.get("pretrained_cfg") or config
    names = config.get("label_names") or settings.get("label_names") or settings.get("labels")
    if isinstance(names, dict):  # by index
        names = [names[key] for key in sorted(names, key=int)]
    if names:
        return [str(name) for name in names]
    count = config.get("num_classes") or settings.get("num_classes")
    if not isinstance(count, int) or not 1 <= count <= 100_000:
        raise UnreadableFolder("does not say how many classes the network has (`num_classes`)")
    return [f"class {index}" for index in range(count)]


def find_preprocessing(folder: Path, config: dict[str, Any]) -> tuple[Preprocessing, list[str]]:
    """Returns the preprocessing with which timm evaluates the network."""
    network = _build_without_memory(folder, config)
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    settings = resolve_model_data_config(network)
    transform = create_transform(**settings, is_training=False)
    side, crop = min(settings["input_size"][1:]), settings["crop_pct"]
    if settings["input_size"][0] != 3:
        raise UnreadableFolder(
            f"is of a network of images with {settings['input_size'][0]} channels; give `preprocessing` in the "
            "registration"
        )
    declared = Declared(
        resizes=(math.floor(side / crop), round(side / crop)),
        interpolation=settings["interpolation"] if settings["interpolation"] != "random" else "bilinear",
        mean=settings["mean"],
        std=settings["std"],
    )

    def reference(image: Image.Image) -> NDArray[np.float32]:
        return np.asarray(transform(image), np.float32)

    return derive_preprocessing(reference, declared)


def _build_without_memory(folder: Path, config: dict[str, Any]) -> nn.Module:
    """Builds the network without memory for its weights if it can be built so."""
    try:
        with torch.device("meta"):
            return _build(folder, config, {})
    except (NotImplementedError, RuntimeError):
        return _build(folder, config, {})


def find_output(_config: dict[str, Any]) -> Output:
    """Returns that the output is to be detected: timm's networks do not say what they return."""
    return Output()
