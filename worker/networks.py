"""Builds the network of a release, checks it, and keeps the ones in use."""

import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
from safetensors.torch import load_file
from torch import nn

from shared.catalogue import Catalogue, Release
from shared.errors import Problem, UnloadableModel
from shared.storage import Description, Layer, Storage
from worker.engine.classifier import Classifier, open_classifier, read_scores
from worker.engine.prepare import prepare
from worker.engine.torchvision_import import import_torchvision

Weights = dict[str, torch.Tensor]

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of torchvision's GoogLeNet and Inception that only serve training; the networks are built without them."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, in memory.

    Attributes:
        sha256: Digest of the weights' file, or of the weights themselves where the network needs none.
    """

    network: nn.Module
    sha256: str


class Networks:
    """Loaded networks, the least recently used one dropped when there are too many."""

    def __init__(self, *, factories: dict[str, str], device: torch.device, limit: int) -> None:
        self.factories = factories
        self.device = device
        self._limit = limit
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def load(self, release: Release) -> Loaded:
        """The release's network, prepared.

        Raises:
            UnloadableModel: It cannot be built, its weights do not fit, or it does not give a score per class.
        """
        if release.reference not in self._loaded:
            while len(self._loaded) >= self._limit:
                self._loaded.popitem(last=False)
            loaded = load_network(release, self.factories, self.device)
            self._loaded[release.reference] = Loaded(prepare(loaded.network, self.device), loaded.sha256)
        self._loaded.move_to_end(release.reference)
        return self._loaded[release.reference]

    @contextmanager
    def open(self, release: Release) -> Iterator[tuple[Classifier, Loaded]]:
        """The release's network, ready to be looked into; raises as `load` does."""
        loaded, shape = self.load(release), release.preprocessing
        opened = open_classifier(
            loaded.network, mean=shape.mean, std=shape.std, size=shape.size, device=self.device,
            score_layer=release.score_layer,
        )  # fmt: skip
        with opened as classifier:
            yield classifier, loaded


def load_network(release: Release, factories: dict[str, str], device: torch.device) -> Loaded:
    """Builds a network, fills in its weights and tries it on one empty picture. Raises `UnloadableModel`."""
    try:
        network = build_architecture(release, factories)
    except UnloadableModel:
        raise
    except Exception as error:  # an architecture is anybody's code
        raise _unloadable(release, f"{release.architecture} cannot be built: {error}") from error
    path = _weights_path(release)
    digest = _digest(path) if path else _digest_of(network)
    if release.sha256 and release.sha256 != digest:
        raise _unloadable(release, f"the weights have the digest {digest}, the catalogue says {release.sha256}")
    if path:
        fill_weights(network, read_weights(path, release), release)
    network.to(device).eval()
    _check_scores(network, release, device)
    return Loaded(network, digest)


def build_architecture(release: Release, factories: dict[str, str]) -> nn.Module:
    """The network without its weights: built in, from torchvision or timm, or from a factory of the operator's."""
    kind, _, name = release.architecture.partition(":")
    if kind == "builtin":
        module = importlib.import_module(f"worker.{name}.network")
        network: nn.Module = getattr(module, f"{name.title()}Network")(len(release.classes))
        return network
    if kind == "torchvision":
        models = import_torchvision().models
        if name not in models.list_models(module=models):
            raise _unloadable(release, f"torchvision has no classification model {name!r}")
        built: nn.Module = models.get_model(
            name, **{"num_classes": len(release.classes), **_plain(name), **release.arguments}
        )
        return built
    if kind == "timm":
        return _build_timm(release, name)
    if name not in factories:
        known = ", ".join(factories) or "none"
        raise _unloadable(release, f"no factory {name!r} is named in ARCHETYPE_FACTORIES (named: {known})")
    package, _, function = factories[name].partition(":")
    made: nn.Module = getattr(importlib.import_module(package), function)(**release.arguments)
    return made


def _build_timm(release: Release, name: str) -> nn.Module:
    import_torchvision()  # timm imports it, and would not find its operators
    import timm

    if not timm.is_model(name):
        raise _unloadable(release, f"timm has no model {name!r}")
    built: nn.Module = timm.create_model(name, num_classes=len(release.classes), **release.arguments)
    return built


def read_weights(path: Path, release: Release) -> Weights:
    """A safetensors file or a state dict; the usual wrappings and training heads are taken off."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own
        raise _unloadable(release, f"the weights {path.name} cannot be read: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _unloadable(release, f"{path.name} holds no state dict; save the network's state_dict()")
    names = {name: name.removeprefix("module.") for name in state}
    return {short: state[name] for name, short in names.items() if not short.startswith(AUXILIARY)}


def fill_weights(network: nn.Module, weights: Weights, release: Release) -> None:
    """Copies the weights in; every name must fit, but for batch-norm counters that old checkpoints lack."""
    missing, unexpected = network.load_state_dict(_only_shapes_that_fit(network, weights, release), strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise _unloadable(
            release,
            f"the weights do not fit {release.architecture}: "
            f"missing {missing[:8] or 'none'}, unexpected {unexpected[:8] or 'none'}",
        )


def describe_releases(catalogue: Catalogue, networks: Networks, storage: Storage) -> None:
    """Loads every release that no worker has described yet, and stores what there is to see: the API has no torch."""
    for release in catalogue:
        try:
            if storage.load_description(release.name, release.release) is None:
                loaded = load_network(release, networks.factories, networks.device)
                description = describe_network(loaded, release, networks.device)
                storage.save_description(release.name, release.release, description)
        except Problem as problem:
            log.warning("release.undescribed", model=release.reference, error=problem.detail)


def describe_network(loaded: Loaded, release: Release, device: torch.device) -> Description:
    """Every named layer with its kind and the shape of its output for one picture."""
    shapes: dict[str, list[int]] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: _note_shape(shapes, name, output))
        for name, module in loaded.network.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            loaded.network(_empty_picture(release, device))
    finally:
        for hook in hooks:
            hook.remove()
    layers = [
        Layer(name=name, kind=type(module).__name__, shape=shapes.get(name))
        for name, module in loaded.network.named_modules()
        if name
    ]
    count = sum(weight.numel() for weight in loaded.network.parameters())
    return Description(sha256=loaded.sha256, parameters=count, layers=layers)


def _note_shape(shapes: dict[str, list[int]], name: str, output: object) -> None:
    if isinstance(output, torch.Tensor):
        shapes[name] = list(output.shape[1:])


def _check_scores(network: nn.Module, release: Release, device: torch.device) -> None:
    try:
        with torch.no_grad():
            scores = read_scores(network(_empty_picture(release, device)))
    except Exception as error:  # a network is anybody's code
        raise _unloadable(release, f"it does not take a picture of {release.preprocessing.size}: {error}") from error
    if scores.shape[1] != len(release.classes):
        raise _unloadable(release, f"it gives {scores.shape[1]} scores for {len(release.classes)} class names")


def _empty_picture(release: Release, device: torch.device) -> torch.Tensor:
    shape = release.preprocessing
    return torch.zeros(1, len(shape.mean), *shape.size, device=device)


def _only_shapes_that_fit(network: nn.Module, weights: Weights, release: Release) -> Weights:
    own = network.state_dict()
    for name, value in weights.items():
        if name in own and own[name].shape != value.shape:
            shapes = f"{list(value.shape)}, {release.architecture} wants {list(own[name].shape)}"
            raise _unloadable(release, f"weight {name!r} has shape {shapes}")
    return weights


def _plain(name: str) -> dict[str, bool]:
    """torchvision's two networks with auxiliary heads are built without them: those only serve training."""
    return {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _weights_path(release: Release) -> Path | None:
    if release.architecture.startswith("builtin:"):
        return Path(__file__).parent / release.architecture.partition(":")[2] / "weights.safetensors"
    return release.weights


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnloadableModel(
            f"the weights {path.name} cannot be read ({error.strerror}); check the catalogue"
        ) from error


def _digest_of(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _unloadable(release: Release, detail: str) -> UnloadableModel:
    return UnloadableModel(f"model {release.reference}: {detail}")
