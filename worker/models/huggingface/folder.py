"""Loads the network of a Hugging Face model folder, and fills in the fields of its release that the folder provides."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from archetype.contract.class_names import check_names
from archetype.contract.model import Output, Preprocessing
from archetype.contract.registration import HUGGING_FACE
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from worker.models.architectures import unloadable
from worker.models.download_cache import Report
from worker.models.huggingface.archive import UnreadableFolder, read_json, unpack
from worker.models.huggingface.preprocessing import OtherPreprocessing
from worker.models.weight_files import WeightFiles


class Library(Protocol):
    """A library whose model folders can be loaded: the modules `timm_folder` and `transformers_folder`."""

    def build(self, folder: Path, config: dict[str, Any], release: Release) -> tuple[nn.Module, list[str]]:
        """Returns the network with its weights, and what was noticed."""

    def list_classes(self, config: dict[str, Any]) -> list[str]:
        """Returns the class names in the order of the scores."""

    def find_preprocessing(self, folder: Path, config: dict[str, Any]) -> tuple[Preprocessing, list[str]]:
        """Returns the preprocessing, and what was assumed."""

    def find_output(self, config: dict[str, Any]) -> Output:
        """Returns what the network returns."""


def load_folder(path: Path, release: Release) -> tuple[nn.Module, list[str]]:
    """Loads the network of an archive of a model folder with its weights, and returns what was noticed, in sentences.

    Raises:
        UnloadableModel: The archive is not that of an image classifier of timm or transformers, or cannot be loaded.
    """
    with _opened(path, release, weights=True) as (library, folder, config):
        network, notes = library.build(folder, config, release)
        return network, [*notes, *_note_preprocessing(library, folder, config, release)]


def complete_release(release: Release, files: WeightFiles, report: Report) -> Release:
    """Returns a release with the fields that its model folder provides, which are listed in `from_folder`.

    Args:
        release: A release; one that is not a model folder, or that has all its fields, is returned as it is.
        files: Finds the archive.
        report: Called with the progress of a download.

    Raises:
        UnloadableModel: As in `load_folder`; or the preprocessing of the folder cannot be described.
    """
    if release.architecture != HUGGING_FACE or not release.from_folder:
        return release
    found = files.find(release, report)
    if found is None:
        raise unloadable(release, "a model folder needs its archive as weights")
    with _opened(found[0], release, weights=False) as (library, folder, config):
        values: dict[str, Any] = {"from_folder": []}
        if "classes" in release.from_folder:
            values["classes"] = check_names(library.list_classes(config))
        if "preprocessing" in release.from_folder:
            values["preprocessing"] = library.find_preprocessing(folder, config)[0]
        if "output" in release.from_folder:
            values["output"] = library.find_output(config)
        return release.model_copy(update=values)


def _note_preprocessing(library: Library, folder: Path, config: dict[str, Any], release: Release) -> list[str]:
    """Returns what was assumed about the preprocessing, if the release uses that of the folder."""
    try:
        preprocessing, notes = library.find_preprocessing(folder, config)
    except (OtherPreprocessing, UnloadableModel):
        return []
    return notes if preprocessing == release.preprocessing else []


@dataclass(frozen=True)
class _Explained:
    """Turns exceptions about a folder into those about its release."""

    release: Release

    def explain(self, error: Exception) -> UnloadableModel:
        if isinstance(error, UnreadableFolder):
            return unloadable(self.release, f"the archive of the model folder {error}")
        if isinstance(error, OtherPreprocessing):
            return unloadable(self.release, f"the image processor of the model folder {error}")
        text = " ".join(str(error).split())[:300]
        hint = "" if "weights_only" in text else f": {text}"
        return unloadable(self.release, f"the model folder cannot be loaded ({type(error).__name__}{hint})")


@contextmanager
def _opened(path: Path, release: Release, *, weights: bool) -> Iterator[tuple[Library, Path, dict[str, Any]]]:
    """Unpacks a folder and selects its library until the block ends; explains exceptions of the block."""
    try:
        with unpack(path, weights=weights) as folder:
            config = read_json(folder / "config.json")
            _refuse_code(config, folder)
            yield _select_library(config), folder, config
    except UnloadableModel:
        raise
    except Exception as error:  # the libraries may raise anything
        raise _Explained(release).explain(error) from error


def _refuse_code(config: dict[str, Any], folder: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "processor_config.json"):
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if "auto_map" in content or "custom_pipelines" in content:
            raise UnreadableFolder(
                f"needs code of its own (`auto_map` in {name}), which is never run; save the weights of the network, "
                "and register them with a factory that builds it"
            )
    if "quantization_config" in config:
        raise UnreadableFolder("contains a quantized network; save the network before its quantization")


def _select_library(config: dict[str, Any]) -> Library:
    # Imported here, because transformers takes seconds to import, and few releases need it.
    from worker.models.huggingface import timm_folder, transformers_folder

    if "model_type" in config and config["model_type"] != "timm_wrapper":
        return transformers_folder
    if "architecture" in config:
        return timm_folder
    raise UnreadableFolder(
        "has a config.json with neither `model_type` (transformers) nor `architecture` (timm); save the network with "
        "save_pretrained, or with timm's save_for_hf"
    )
