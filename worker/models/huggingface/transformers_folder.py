"""Model folders of the image classifiers of transformers."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from archetype.contract.model import Output, Preprocessing
from shared.catalogue.release import Release
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.architectures import fixed_seeds, unloadable
from worker.models.checkpoint.fits import COUNTERS
from worker.models.checkpoint.formats import UnreadableWeights, recognize
from worker.models.checkpoint.hints import list_names
from worker.models.checkpoint.values import check_values, is_finite
from worker.models.huggingface.archive import UnreadableFolder
from worker.models.huggingface.preprocessing import Declared, derive_preprocessing
from worker.models.huggingface.timm_folder import read_folder_weights

INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Names of the interpolations of Pillow."""

LEVIT_RATIO = 256 / 224
"""LeViT's image processor resizes to this multiple of `shortest_edge`."""


def build(folder: Path, config: dict[str, Any], release: Release) -> tuple[nn.Module, list[str]]:
    """Loads the network as transformers does, with its conversions of old weights, and without code of the folder."""
    transformers = _import_transformers()
    if release.arguments:
        raise UnreadableFolder("needs no arguments; remove `arguments` from the registration")
    _convert_pickles(folder, release)
    _check_kinds(folder)
    with fixed_seeds():
        network, report = transformers.AutoModelForImageClassification.from_pretrained(
            folder,
            config=_read_config(config),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report lists them
        )
    _check_report(network, report, release)
    return network, _note_extras(report)


def _import_transformers() -> ModuleType:
    import_torchvision()  # transformers imports torchvision, which must be prepared first
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    module: ModuleType = transformers
    return module


def _read_config(config: dict[str, Any]) -> Any:
    transformers, kind = _import_transformers(), config["model_type"]
    if kind not in transformers.CONFIG_MAPPING:
        raise UnreadableFolder(
            f"is of the type {kind!r}, which this version of transformers ({transformers.__version__}) does not have"
        )
    read = transformers.CONFIG_MAPPING[kind].from_dict(config)
    if type(read) not in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise UnreadableFolder(f"is of the type {kind!r}, of which transformers has no image classifier")
    if config.get("problem_type") == "regression":
        raise UnreadableFolder("is of a network that predicts numbers (`problem_type` is regression), not classes")
    if getattr(read, "use_pretrained_backbone", False):
        raise UnreadableFolder("would download a backbone (`use_pretrained_backbone`); set it to false in config.json")
    return read


def _convert_pickles(folder: Path, release: Release) -> None:
    """Replaces pickled weights by safetensors, so that only our own reader reads pickles."""
    if (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file():
        return
    weights = read_folder_weights(folder, release)
    tensors = {name: value for name, value in weights.content.items() if isinstance(value, torch.Tensor)}
    if any(value.is_quantized for value in tensors.values()):
        raise UnreadableFolder("contains quantized weights; save the network before its quantization")
    save_file(
        {name: value.detach().clone().contiguous() for name, value in tensors.items()}, folder / "model.safetensors"
    )
    for file in folder.glob("*.bin*"):
        file.unlink()


def _check_kinds(folder: Path) -> None:
    """Raises `UnreadableFolder` if weights are not floating-point numbers."""
    for path in folder.glob("*.safetensors"):
        try:
            recognize(path)
        except UnreadableWeights as error:
            raise UnreadableFolder(f"contains {path.name}, which {error}") from error
        with safe_open(path, framework="pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        faults = [
            f"{name} is {kind}"
            for name, kind in kinds.items()
            if name.endswith((".weight", ".bias")) and not kind.startswith(("F", "BF"))
        ]
        if faults:
            raise UnreadableFolder(
                f"contains values that are not floating-point weights ({list_names(faults)}); save the network before "
                "it is quantized or converted"
            )


def _check_report(network: nn.Module, report: dict[str, Any], release: Release) -> None:
    missing = [name for name in sorted(report["missing_keys"]) if not name.endswith(COUNTERS)]
    shapes = [
        f"{name} is {list(given)} and should be {list(wanted)}"
        for name, given, wanted in sorted(report["mismatched_keys"])
    ]
    faults = {"missing": missing, "of another shape": shapes}
    details = [f"{len(names)} {fault} ({list_names(names)})" for fault, names in faults.items() if names]
    if details:
        raise unloadable(release, f"the weights do not fit the config.json of the folder: {'; '.join(details)}")
    saved = network.state_dict()
    usual = {name for name, value in network.named_buffers() if name not in saved and not is_finite(value)}
    check_values(network, usual, release)


def _note_extras(report: dict[str, Any]) -> list[str]:
    extra = sorted(report["unexpected_keys"])
    note = f"{len(extra)} entries of the file that the network does not have were ignored: {list_names(extra)}."
    return [note] if extra else []


def list_classes(config: dict[str, Any]) -> list[str]:
    """Returns the names of `id2label` in the order of the scores."""
    names: dict[int, str] = _read_config(config).id2label
    return [str(names[index]) for index in sorted(names)]


def find_output(config: dict[str, Any]) -> Output:
    """Returns sigmoid logits for a network that was trained on several labels per image."""
    return Output(kind="sigmoid_logits" if config.get("problem_type") == "multi_label_classification" else "detect")


def find_preprocessing(folder: Path, config: dict[str, Any]) -> tuple[Preprocessing, list[str]]:
    """Returns the preprocessing of the folder's image processor."""
    transformers, read = _import_transformers(), _read_config(config)
    channels = getattr(read, "num_channels", 3)
    if channels != 3:
        raise UnreadableFolder(f"is of a network of {channels} channels; give `preprocessing` in the registration")
    image_size = getattr(read, "image_size", None)
    side = image_size if isinstance(image_size, int) else max(image_size) if image_size else None
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        size = side or 224
        note = (
            f"The folder has no preprocessor_config.json; images of {size} x {size} pixels with the normalization of "
            "ImageNet were assumed. Give `preprocessing` in the registration to change that."
        )
        return Preprocessing(size=(size, size)), [note]
    processor = transformers.AutoImageProcessor.from_pretrained(
        folder, config=read, local_files_only=True, trust_remote_code=False
    )
    return derive_preprocessing(_make_reference(processor), _declare(processor, side))


def _make_reference(processor: Any) -> Callable[[Image.Image], NDArray[np.float32]]:
    def reference(image: Image.Image) -> NDArray[np.float32]:
        values = processor(images=image, return_tensors="pt")["pixel_values"]
        return np.asarray(values[0], np.float32)

    return reference


def _declare(processor: Any, side: int | None) -> Declared:
    size = dict(processor.size or {}) if not isinstance(processor.size, int) else {"shortest_edge": processor.size}
    lengths = [value for key in ("shortest_edge", "height", "width") if isinstance(value := size.get(key), int)]
    crop = getattr(processor, "crop_pct", None)
    resizes = [*lengths, *(int(length / crop) for length in lengths if crop)]
    resizes += [int(LEVIT_RATIO * length) for length in lengths]
    resample = processor.resample
    normalizes = processor.do_normalize and processor.do_rescale
    return Declared(
        resizes=resizes,
        side=side,
        interpolation="bilinear" if resample is None else INTERPOLATIONS.get(int(resample), "bilinear"),
        mean=tuple(processor.image_mean) if normalizes else (),
        std=tuple(processor.image_std) if normalizes else (),
    )
