"""Builds networks without their weights: built in, of a library, of the operator's, or a program."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from shared.catalogue import Release
from shared.errors import UnloadableModel
from worker.engine.torchvision_import import import_torchvision


def build_architecture(release: Release, factories: Mapping[str, str]) -> nn.Module:
    """The network without its weights: built in, from torchvision or timm, or from a factory of the operator's.

    Raises:
        UnloadableModel: There is no such architecture, or it cannot be built.
    """
    builders = {"builtin": _build_own, "torchvision": _build_torchvision, "timm": _build_timm}
    kind, _, name = release.architecture.partition(":")
    try:
        # Where no weights are given, they are the same every time.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if kind == "factory":
                return _build_factory(release, name, factories)
            return builders[kind](release, name)
    except UnloadableModel:
        raise
    except Exception as error:  # an architecture is anybody's code
        raise unloadable(release, f"{release.architecture} cannot be built: {error}") from error


def load_program(path: Path, release: Release) -> nn.Module:
    """An exported program with its weights. It is code: whether it may be loaded was asked before.

    Raises:
        UnloadableModel: The file is no exported program.
    """
    try:
        return Program(torch.export.load(path).module())
    except Exception as error:  # whatever the file does to the reader
        raise unloadable(release, f"{path.name} is no program that torch.export saved: {error}") from error


class Program(nn.Module):
    """An exported program, which is what it was when it was exported: it knows no modes."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.program(pictures)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        return self


def unloadable(release: Release, detail: str) -> UnloadableModel:
    """What is wrong with a release."""
    return UnloadableModel(f"model {release.reference}: {detail}")


def _build_own(release: Release, name: str) -> nn.Module:
    module = importlib.import_module(f"worker.{name}.network")
    network: nn.Module = getattr(module, f"{name.title()}Network")(len(release.classes))
    return network


def _build_torchvision(release: Release, name: str) -> nn.Module:
    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise unloadable(release, f"torchvision has no classification model {name!r}")
    # Two networks have auxiliary heads, which only serve training.
    plain = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    built: nn.Module = models.get_model(name, **{"num_classes": len(release.classes), **plain, **release.arguments})
    return built


def _build_timm(release: Release, name: str) -> nn.Module:
    import_torchvision()  # timm imports it, and would not find its operators
    import timm

    if not timm.is_model(name):
        raise unloadable(release, f"timm has no model {name!r}")
    built: nn.Module = timm.create_model(name, num_classes=len(release.classes), **release.arguments)
    return built


def _build_factory(release: Release, name: str, factories: Mapping[str, str]) -> nn.Module:
    if name not in factories:
        known = ", ".join(factories) or "none"
        raise unloadable(release, f"no factory {name!r} is named in ARCHETYPE_FACTORIES (named: {known})")
    package, _, function = factories[name].partition(":")
    made: nn.Module = getattr(importlib.import_module(package), function)(**release.arguments)
    return made
