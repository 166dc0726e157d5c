"""Architectures of timm and torchvision: one small network of every family, with random but lively weights.

A family is a module of the library, such as `timm.models.convnext`. Its smallest network is selected by the number of
parameters, which is counted on the meta device, where a network takes neither memory nor time.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from worker.engine.model.torchvision_import import import_torchvision

CLASSES = 10
COUNTED = 6
"""Number of networks of a family of timm whose parameters are counted: those whose names promise to be the smallest."""

ROUNDING = 1e-6
MAX_AMPLIFICATION = 20
"""A network that amplifies a small change of its inputs more than this has scores that depend on rounding."""

MAX_PARAMETERS = 140_000_000
"""Larger networks are left out: VGG, the largest family, has 129 million."""

SMALL_NAMES = re.compile(
    r"test|atto|femto|pico|zepto|nano|micro|tiny|xxt|xxs|xs|small|lite|mini|_s\b|_t\d?\b|_0\d\d\b|0\.?5|_b?0|18|[^0-9]1[0-9]\b"
)
REDUCED: dict[str, dict[str, Any]] = {
    "timm:beit_base_patch16_224": {"depth": 3},
    "timm:deepseek_vit_412m": {"depth": 2, "img_size": 224},
    "timm:gemma4_vit_167m": {"depth": 2, "img_size": 192},
    "timm:naflexvit_base_patch16_gap": {"depth": 3},
    "timm:qwen3_vit_88m": {"depth": 2, "img_size": 224},
    "timm:samvit_base_patch16_224": {"depth": 4},
    "timm:vgg11": {"mlp_ratio": 0.125},
}
"""Arguments that make a network or its input smaller, for families without a small one."""


@dataclass(frozen=True)
class Architecture:
    """A network of a library, and how its inputs are prepared.

    Attributes:
        name: `timm:NAME` or `torchvision:NAME`, as a release names it.
        family: The module of the library that defines it.
        parameters: Number of parameters.
        size: Height and width of its inputs in pixels.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        arguments: Keyword arguments that are needed to build it.
    """

    name: str
    family: str
    parameters: int
    size: tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    arguments: dict[str, Any] = field(default_factory=dict)


@cache
def libraries() -> tuple[ModuleType, ModuleType]:
    """Returns timm and `torchvision.models`."""
    models: ModuleType = import_torchvision().models  # timm imports torchvision, which must be prepared first
    import timm

    return timm, models


def list_test_architectures() -> list[Architecture]:
    """All networks that timm has for tests; each has the modules of a family in a small size."""
    timm, _ = libraries()
    return [describe_timm(name) for name in timm.list_models("test_*")]


def list_families(only: Sequence[str] = ()) -> list[Architecture]:
    """The smallest network of every family of timm and torchvision, in the order of their names.

    Args:
        only: Families to select; without them, all.

    Raises:
        KeyError: There is no such family.
    """
    timm, models = libraries()
    names = {f"timm.{module}": timm.list_models(module=module) for module in timm.list_modules()}
    for name in models.list_models(module=models):
        module = models.get_model_builder(name).__module__.rpartition(".")[2]
        names.setdefault(f"torchvision.{module}", []).append(name)
    chosen = [choose_smallest(family, names[family]) for family in only or sorted(names)]
    return [architecture for architecture in chosen if architecture is not None]


def choose_smallest(family: str, names: Iterable[str]) -> Architecture | None:
    """Returns the network of a family with the fewest parameters and pixels; None if all exceed `MAX_PARAMETERS`.

    Networks for tests are left out, because they are measured by themselves.
    """
    candidates = [name for name in names if not name.startswith("test_")]
    candidates.sort(key=lambda name: (not SMALL_NAMES.search(name), len(name), name))
    described = (
        [describe_timm(name, family) for name in candidates[:COUNTED]]
        if family.startswith("timm.")
        else [describe_torchvision(name, family) for name in candidates]
    )
    counted = [architecture for architecture in described if architecture.parameters]
    smallest = min(
        counted, key=lambda architecture: architecture.parameters * math.prod(architecture.size), default=None
    )
    return smallest if smallest is not None and smallest.parameters <= MAX_PARAMETERS else None


def describe_timm(name: str, family: str = "") -> Architecture:
    """Describes a network of timm by its default configuration."""
    timm, _ = libraries()
    config = timm.models.get_pretrained_cfg(name, allow_unregistered=True)
    arguments = REDUCED.get(f"timm:{name}", {})
    return Architecture(
        name=f"timm:{name}",
        family=family or name,
        parameters=count_parameters(f"timm:{name}", arguments),
        size=(side, side) if (side := arguments.get("img_size")) else (config.input_size[1], config.input_size[2]),
        mean=tuple(config.mean),
        std=tuple(config.std),
        arguments=arguments,
    )


def describe_torchvision(name: str, family: str = "") -> Architecture:
    """Describes a network of torchvision by its published weights."""
    _, models = libraries()
    weights = models.get_model_weights(name).DEFAULT
    side = int(weights.transforms().crop_size[0])
    return Architecture(f"torchvision:{name}", family or name, int(weights.meta["num_params"]), (side, side))


def count_parameters(name: str, arguments: dict[str, Any]) -> int:
    """Returns the number of parameters of a network; 0 if it cannot be built on the meta device."""
    try:
        with torch.device("meta"):
            return sum(weight.numel() for weight in build(name, arguments).parameters())
    except Exception:  # a network may compute with values that the meta device does not have
        return 0


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Builds a network with random weights, without any code of the service."""
    timm, models = libraries()
    library, _, plain_name = name.partition(":")
    if library == "timm":
        return cast("nn.Module", timm.create_model(plain_name, num_classes=CLASSES, **arguments))
    options = {"aux_logits": False, "init_weights": False} if plain_name in ("googlenet", "inception_v3") else {}
    return cast("nn.Module", models.get_model(plain_name, weights=None, num_classes=CLASSES, **options, **arguments))


def build_lively(architecture: Architecture) -> nn.Module:
    """Builds a network whose scores differ between images and classes, as those of a trained network do.

    Fresh networks have heads, layer scales and biases of zeros, and batch norms without statistics. Zeros become random
    weights, the smaller the more the network amplifies rounding.
    """
    for deviation in (0.1, 0.02, 0.005):
        network = fill(architecture, deviation)
        if measure_amplification(network, architecture.size) < MAX_AMPLIFICATION:
            break
    return network


def fill(architecture: Architecture, deviation: float) -> nn.Module:
    """Builds a network with random weights of this standard deviation instead of zeros."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        network = build(architecture.name, architecture.arguments)
        for weight in network.parameters():
            if weight.abs().max() < 1e-2:
                weight.normal_(std=deviation)
        collect_statistics(network, torch.randn(4, 3, *architecture.size))
    return network.eval()


@torch.no_grad()
def measure_amplification(network: nn.Module, size: tuple[int, int]) -> float:
    """Returns how many times larger the relative change of scores is than that of random inputs."""
    inputs, noise = torch.randn(2, 1, 3, *size, generator=torch.Generator().manual_seed(2))
    scores, shaken = (read_plain(network, values) for values in (inputs, inputs + ROUNDING * noise))
    return float((shaken - scores).abs().max() / scores.abs().max() / ROUNDING)


def read_plain(network: nn.Module, inputs: Tensor) -> Tensor:
    """Returns the scores (N, K) of a plain network, which may return them first of several outputs."""
    output = network(inputs)
    scores: Tensor = output[0] if isinstance(output, tuple) else output
    return scores


def collect_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Gives the batch norms of a network the statistics of inputs (N, C, H, W)."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if norm.running_var is not None:
            norm.running_var.clamp_(min=1e-2)


def make_release(architecture: Architecture, weights: Path, name: str = "") -> Release:
    """Returns the catalogue entry of a network with its saved weights; its name is derived from the network's."""
    return Release(
        name=name or architecture.name.replace(":", "-"),
        architecture=architecture.name,
        arguments=architecture.arguments,
        weights=weights,
        classes=[f"class {number}" for number in range(CLASSES)],
        preprocessing=Preprocessing(size=architecture.size, mean=list(architecture.mean), std=list(architecture.std)),
    )
