"""Describes a network: its layers, what it returns, and where its class scores are."""

from functools import partial

import torch
from torch import nn

from archetype.contract.model import Description, Layer, Preprocessing
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from worker.engine.model.classifier import ProbedTraits
from worker.engine.model.feature_grid import Layout, find_layouts
from worker.engine.model.microbatch import is_out_of_memory
from worker.engine.model.network_call import NetworkError, call_network
from worker.engine.scores.detect import DeclaredOutput, OutputError, draw_images, find_scores
from worker.models.architectures import unloadable


def probe(network: nn.Module, release: Release, device: torch.device) -> ProbedTraits:
    """Finds the scores and the layouts of a network on random images.

    Args:
        network: A network in eval mode.
        release: Its catalogue entry, which has the input size, the class names and the declared output.
        device: The device of the network.

    Raises:
        UnloadableModel: The network does not take such images, or does not return one score for each class.
    """
    shape, output = release.preprocessing, release.output
    inputs = draw_inputs(shape, device)  # (N, C, H, W)
    path = None if output.select is None else str(output.select)
    declared = DeclaredOutput(output.kind, path, release.score_layer, len(release.classes))
    try:
        check_batches(network, inputs)
        found = find_scores(network, inputs, declared)
        with torch.no_grad():
            run = partial(call_network, network, inputs, torch.float32)
            layouts = find_layouts(network, run, 2, shape.size[0] / shape.size[1])
    except UnloadableModel:
        raise
    except Exception as error:  # the network may run any code
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise unloadable(release, _explain(error, release)) from error
    return ProbedTraits(found, layouts)


def draw_inputs(shape: Preprocessing, device: torch.device, count: int = 2) -> torch.Tensor:
    """Draws random images and normalizes them: (N, C, H, W)."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (shape.levels_mean, shape.levels_std))
    return (draw_images(shape.channels, shape.size, device, count) - mean) / std


@torch.no_grad()
def check_batches(network: nn.Module, inputs: torch.Tensor) -> None:
    """Checks that a network takes two images (N, C, H, W) at once.

    Raises:
        NetworkError: It does not; the message says whether it takes one.
    """
    try:
        call_network(network, inputs[:2], inputs.dtype)
    except NetworkError as error:
        try:
            call_network(network, inputs[:1], inputs.dtype)
        except NetworkError:
            raise error from None
        raise OneImageError(str(error)) from error


class OneImageError(NetworkError):
    """The network takes a single image, but no batch of two."""


def _explain(error: Exception, release: Release) -> str:
    size = "×".join(map(str, (release.preprocessing.channels, *release.preprocessing.size)))
    if isinstance(error, OneImageError):
        remedy = "make its forward pass independent of the batch size"
        if release.architecture == "program":
            remedy = "export it with a dynamic batch: dynamic_shapes=({0: torch.export.Dim('batch', min=1, max=512)},)"
        return f"it takes one image at a time, but no batch of two; {remedy} ({error})"
    if isinstance(error, OutputError):
        return str(error)
    if isinstance(error, NetworkError):
        return f"it does not work with images of {size} (channels, height, width): {error}"
    return f"it does not work with images of {size} (channels, height, width): {type(error).__name__}: {error}"


def describe_network(network: nn.Module, digest: str, traits: ProbedTraits) -> Description:
    """Lists the layers of a network with their kinds and the shapes of their outputs.

    Args:
        network: The network.
        digest: SHA-256 of its weights.
        traits: Its scores and layouts.
    """
    layouts, found = traits.layouts or {}, traits.scores
    layers = [_describe_layer(name, module, layouts.get(name)) for name, module in network.named_modules() if name]
    count = sum(weight.numel() for weight in network.parameters())
    return Description(
        sha256=digest,
        parameters=count,
        layers=layers,
        output=found.reader.returns if found else None,
        notes=list(found.notes) if found else [],
    )


def _describe_layer(name: str, module: nn.Module, layout: Layout | None) -> Layer:
    layer = Layer(name=name, kind=type(module).__name__, filters=count_filters(module))
    if layout is None:  # without one row per image, it has no features
        return layer
    channels = layout.shape[0] if layout.channels == "first" else layout.shape[-1]
    return layer.model_copy(update={"shape": list(layout.shape), "channels": channels})


def count_filters(module: nn.Module) -> int | None:
    """Returns the number of two-dimensional filters of a module; None if it has none."""
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, torch.Tensor) and weight.ndim == 4 else None
