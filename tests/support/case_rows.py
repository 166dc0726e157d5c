"""The cases of `../shared/cases/classifiers.py`, each with what is right: one row per network, file or variant."""

import importlib.util
import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.support import twins
from tests.support.paths import SHARED
from worker.engine.model.torchvision_import import import_torchvision

FILE = SHARED / "cases" / "classifiers.py"

Compute = Callable[[nn.Module, Tensor], Tensor]
"""Maps a plain network and images (N, C, H, W) to scores or probabilities (N, K)."""

GRADIENTS = frozenset({"gradient", "guided", "integrated_gradients", "grad_cam", "fool", "class_model"})
LAYERS = frozenset({"grad_cam", "activations", "filters", "guided"})
JOBS = (*sorted(GRADIENTS), "occlusion", "activations", "patches", "filters")
"""The jobs that are run on every case: kinds of saliency, and other methods."""

SALIENCY = ("gradient", "guided", "integrated_gradients", "grad_cam", "occlusion")


@cache
def classifiers() -> ModuleType:
    """The module of the cases."""
    spec = importlib.util.spec_from_file_location("classifiers", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["classifiers"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(case: str, **arguments: Any) -> Any:
    """Builds a case or a twin as the worker's factory does, without the warnings of old functions of torch."""
    import_torchvision()  # for the cases that import it
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        return (twins if case in twins.TWINS else classifiers()).build(case, **arguments)


def save(state: Any) -> bytes:
    """The bytes of `torch.save`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def output(network: nn.Module, images: Tensor) -> Tensor:
    """The network's own output."""
    found: Tensor = network(images)
    return found


def layer(name: str, network: nn.Module, images: Tensor) -> Tensor:
    """The output of a layer, as a matrix (N, K)."""
    seen: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_hook(lambda _module, _inputs, found: seen.append(found))
    try:
        network(images)
    finally:
        hook.remove()
    return seen[-1].flatten(1)


fc = partial(layer, "fc")


def two_sided(logit: Compute, network: nn.Module, images: Tensor) -> Tensor:
    """The scores of the negative and the positive class (N, 2) of a network with one logit."""
    values = logit(network, images).reshape(-1)
    return torch.stack([-values, values], 1)


def softmax(scores: Compute, network: nn.Module, images: Tensor) -> Tensor:
    """The softmax of scores."""
    return scores(network, images).softmax(1)


def sigmoid(scores: Compute, network: nn.Module, images: Tensor) -> Tensor:
    """The sigmoid of scores."""
    return scores(network, images).sigmoid()


def liven(network: nn.Module) -> nn.Module:
    """Gives the last layer random weights, so that scores and gradients differ between images."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        nn.init.normal_(network.fc.weight)
    return network


@dataclass(frozen=True)
class Case:
    """A network, and what is right for it.

    Attributes:
        name: Name of the row and of the release.
        build: Name of the case in the module; empty if it is `name`.
        arguments: Further arguments of the case.
        change: Changes the network before its weights are uploaded.
        rename: Changes the state dict before it is uploaded.
        file: Name of the case that is the uploaded file; empty for the state dict of the network.
        pictures: Number of pictures.
        classes: Class names.
        size: Height and width of the inputs.
        channels: Channels of the inputs.
        release: Further fields of the registration.
        score: The right scores.
        probability: The right probabilities; None for the softmax of the scores.
        centered: Whether scores and gradients are right up to a constant for all classes of an image.
        meaning: Accepted values of `output`; empty if any is.
        layers: Layers whose activations are compared with the plain network.
        cam: Layers of which one gives the right Grad-CAM; the first is requested, unless `cam_default`.
        cam_default: Whether Grad-CAM is requested without naming a layer.
        missing: Jobs that must not be available.
        optional: Jobs that may be unavailable.
        refused: A pattern in the reason of the refusal; empty if the network must be accepted.
        may_refuse: Whether a refusal with a reason is right as well.
        note: A pattern in one of the notes; empty if none is needed.
        may_be_nan: Whether gradients are not finite.
        is_random: Whether two networks of the case differ, so that there is no plain network to compare with.
    """

    name: str
    build: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    change: Callable[[nn.Module], nn.Module] | None = None
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    file: str = ""
    pictures: int = 3
    classes: tuple[str, ...] = ("a", "b", "c")
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    release: dict[str, Any] = field(default_factory=dict)
    score: Compute = output
    probability: Compute | None = None
    centered: bool = False
    meaning: tuple[str, ...] = ("softmax_logits",)
    layers: tuple[str, ...] = ()
    cam: tuple[str, ...] = ()
    cam_default: bool = False
    missing: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    refused: str = ""
    may_refuse: bool = False
    note: str = ""
    may_be_nan: bool = False
    is_random: bool = False

    @property
    def architecture(self) -> str:
        """The architecture that is registered."""
        return "factory:twin" if self.factory["case"] in twins.TWINS else "factory:case"

    @property
    def factory(self) -> dict[str, Any]:
        """The arguments of the worker's factory."""
        return {"case": self.build or self.name, **self.arguments}

    def network(self) -> nn.Module:
        """The plain network with the uploaded weights, frozen, in float32."""
        network = build(**self.factory)
        network = self.change(network) if self.change else network
        frozen: nn.Module = network.eval().float().requires_grad_(False)
        return frozen

    def weights(self) -> bytes:
        """The file to upload."""
        if self.file:
            data: bytes = build(self.file)
            return data
        network = build(**self.factory)
        state = (self.change(network) if self.change else network).state_dict()
        return save(self.rename(state) if self.rename else state)

    def probabilities(self, network: nn.Module, images: Tensor) -> Tensor:
        """The right probabilities (N, K)."""
        return (self.probability or partial(softmax, self.score))(network, images)
