"""Builds the network of a release with its weights."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from archetype.contract.registration import HUGGING_FACE, ONNX
from shared.catalogue.release import Release
from worker.models.architectures import build_architecture, convert_timm, unloadable, use_float32
from worker.models.huggingface.folder import load_folder
from worker.models.weights import fill_weights, read_weights


def build_network(release: Release, path: Path | None, factories: Mapping[str, str]) -> tuple[nn.Module, list[str]]:
    """Builds the network of a release, in float32, and loads its weights.

    Args:
        release: The release; not an exported program.
        path: Its file of weights, its archive of a model folder, or its ONNX file; None if it needs none.
        factories: The operator's factories, name to "package.module:function".

    Returns:
        The network, and what was noticed, in sentences.

    Raises:
        UnloadableModel: The network cannot be built, or its weights do not fit.
    """
    if release.architecture == HUGGING_FACE:
        if path is None:
            raise unloadable(release, "a model folder needs its archive as weights")
        network, notes = load_folder(path, release)
        return network, [*notes, *use_float32(network)]
    if release.architecture == ONNX:
        if path is None:
            raise unloadable(release, "an ONNX network needs weights, which are the ONNX file")
        from worker.models.onnx.load import load_onnx  # onnx and onnxruntime take memory, and few releases need them

        return load_onnx(path, release)
    network = build_architecture(release, factories)
    notes = use_float32(network)
    if path is not None:
        weights = read_weights(path, release)
        convert = convert_timm(release) if release.architecture.startswith("timm:") else None
        notes += fill_weights(network, weights, release, convert)
    return network, notes
