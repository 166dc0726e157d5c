"""Builds networks without weights: built-in ones, those of torchvision, timm or the operator, and exported programs."""

import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from worker.engine.model.torchvision_import import import_torchvision

SEED = 0

Convert = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Converts the tensors of a state dict."""


def build_architecture(release: Release, factories: Mapping[str, str]) -> nn.Module:
    """Builds the network of a release without its weights.

    Args:
        release: Its architecture is built in, or from torchvision, timm or a factory.
        factories: The operator's factories, name to "package.module:function".

    Raises:
        UnloadableModel: There is no such architecture, or it cannot be built.
    """
    builders = {"builtin": _build_own, "torchvision": _build_torchvision, "timm": _build_timm}
    kind, _, name = release.architecture.partition(":")
    try:
        with fixed_seeds():
            built = _build_factory(release, name, factories) if kind == "factory" else builders[kind](release, name)
            return _materialize(_check_module(built, release), release)
    except UnloadableModel:
        raise
    except Exception as error:  # an architecture may run any code
        raise unloadable(release, f"{release.architecture} cannot be built: {error}") from error


@contextmanager
def fixed_seeds() -> Iterator[None]:
    """Seeds the generators of PyTorch, NumPy and Python, and restores them afterwards.

    What a network draws when it is built, such as weights or features that no file contains, is then the same in every
    process.
    """
    python, array = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            random.seed(SEED)
            np.random.seed(SEED)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)


def _check_module(built: Any, release: Release) -> nn.Module:
    """Returns what a factory built if it is a network; else raises `UnloadableModel`."""
    if isinstance(built, nn.Module):
        return built
    name = release.architecture.partition(":")[2]
    given = "None" if built is None else f"an object of {type(built).__name__}"
    if isinstance(built, type):
        given = f"the class {built.__name__} instead of an object of it"
    elif isinstance(built, Mapping):
        given = "a dictionary, perhaps the weights without their network"
    raise unloadable(release, f"the factory {name!r} returned {given}; it must return a torch.nn.Module")


def _materialize(network: nn.Module, release: Release) -> nn.Module:
    """Runs a network with lazy modules once, on black images, so that they take the shapes of their weights."""
    tensors = (*network.parameters(), *network.buffers())
    if any(isinstance(tensor, UninitializedParameter | UninitializedBuffer) for tensor in tensors):
        shape = release.preprocessing
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(2, shape.channels, *shape.size))
        except Exception as error:  # the network may run any code
            raise unloadable(
                release,
                f"it has lazy modules, whose shapes are found with an image of {shape.channels} x {shape.size[0]} x "
                f"{shape.size[1]}, and it does not take such an image: {error}",
            ) from error
    return network


def use_float32(network: nn.Module) -> list[str]:
    """Converts a network to float32 if it has another precision; returns a sentence that says so."""
    tensors = (*network.parameters(), *network.buffers())
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if kinds <= {torch.float32} or kinds == {torch.float32, torch.float64}:  # some compute a part in float64
        return []
    kinds -= {torch.float32}
    network.float()
    names = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    return [f"The network was built in {names}; it is computed in float32."]


def convert_timm(release: Release) -> Convert | None:
    """Returns timm's own conversion of old weights; None if the release is not from timm, or has other channels."""
    import_torchvision()  # timm imports torchvision, which must be prepared first
    import timm

    kind, _, name = release.architecture.partition(":")
    config = timm.get_pretrained_cfg(name) if kind == "timm" else None
    # With another number of channels, timm would add up or leave out weights of the first layer.
    if config is None or config.input_size[0] != release.arguments.get("in_chans", 3):
        return None

    def convert(tensors: dict[str, Any]) -> Mapping[str, Any]:
        options = {"num_classes": _count_outputs(release), **release.arguments}
        overlay = {"state_dict": tensors, "num_classes": options["num_classes"], "custom_load": False}
        with fixed_seeds():
            network: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        return network.state_dict()

    return convert


def load_program(path: Path, release: Release) -> nn.Module:
    """Loads an exported program with its weights. A program is code: the caller checks that it may be loaded.

    Raises:
        UnloadableModel: The file is not an exported program.
    """
    try:
        return Program(torch.export.load(path).module())
    except Exception as error:  # a damaged file may raise anything
        raise unloadable(release, f"{path.name} is not a program that torch.export saved: {error}") from error


class Program(nn.Module):
    """An exported program. It has no training mode: it stays in the mode in which it was exported."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: torch.Tensor) -> Any:
        """Runs the program on images (N, C, H, W)."""
        return self.program(images)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Does nothing."""
        return self


def unloadable(release: Release, detail: str) -> UnloadableModel:
    """Returns the problem that a release cannot be loaded, with the name of the release."""
    return UnloadableModel(f"model {release.reference}: {detail}")


def _build_own(release: Release, name: str) -> nn.Module:
    module = importlib.import_module(f"worker.{name}.network")
    network: nn.Module = getattr(module, f"{name.title()}Network")(len(release.classes))
    return network


def _build_torchvision(release: Release, name: str) -> nn.Module:
    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise unloadable(release, f"torchvision has no classification model {name!r}")
    # Two networks have auxiliary heads, which are used only for training.
    plain = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = models.get_model(
        name, **{"num_classes": _count_outputs(release), **plain, **release.arguments}
    )
    return network


def _build_timm(release: Release, name: str) -> nn.Module:
    import_torchvision()  # timm imports torchvision, which must be prepared first
    import timm

    if not timm.is_model(name):
        raise unloadable(release, f"timm has no model {name!r}")
    network: nn.Module = timm.create_model(name, **{"num_classes": _count_outputs(release), **release.arguments})
    return network


def _count_outputs(release: Release) -> int:
    """The number of outputs of a network of the release, unless its arguments name another one."""
    return 1 if release.output.kind == "one_logit" else len(release.classes)


def _build_factory(release: Release, name: str, factories: Mapping[str, str]) -> Any:
    if name not in factories:
        known = ", ".join(factories) or "none"
        raise unloadable(release, f"no factory {name!r} is named in ARCHETYPE_FACTORIES (named: {known})")
    import_torchvision()  # the factory may import torchvision, which must be prepared first
    package, _, function = factories[name].partition(":")
    return getattr(importlib.import_module(package), function)(**release.arguments)
