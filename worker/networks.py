"""Builds the network of a release, checks it, and keeps the ones in use."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
import torch
from torch import nn

from shared.catalogue import Catalogue, Release
from shared.records import Records
from shared.storage import Description, Layer, Storage
from worker.architectures import build_architecture, load_program, unloadable
from worker.downloads import Report, ignore
from worker.engine.classifier import Classifier, Habits, open_classifier, read_scores, watch
from worker.engine.grid import to_channels
from worker.engine.memory import is_out_of_memory
from worker.engine.prepare import prepare
from worker.weight_files import WeightFiles
from worker.weights import fill_weights, read_weights

MOST_LOOKS = 2
"""At a release that no worker has described: one that ends its process must not end every process."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, in memory.

    Attributes:
        description: What there was to see when it was loaded, before it was prepared.
        habits: What was found out about it since.
    """

    network: nn.Module
    description: Description
    habits: Habits = field(default_factory=Habits)

    @property
    def sha256(self) -> str:
        """Digest of the weights' file, or of the weights themselves where the network needs none."""
        return self.description.sha256

    @property
    def bytes(self) -> int:
        """What its weights and buffers take in memory."""
        held = (*self.network.parameters(), *self.network.buffers())
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in held}.values())


@dataclass(frozen=True)
class Loader:
    """Loads networks.

    Attributes:
        factories: Architectures of the operator's, name to "package.module:function".
        files: Finds their weights.
        programs: Whether exported programs, which are code, may be loaded.
    """

    factories: Mapping[str, str] = field(default_factory=dict)
    files: WeightFiles = field(default_factory=WeightFiles)
    programs: bool = False

    def load(self, release: Release, device: torch.device, report: Report = ignore) -> Loaded:
        """Builds a network, fills in its weights and tries it on two empty pictures.

        Raises:
            UnloadableModel: It cannot be built, its weights do not fit, or it does not give a score per class.
        """
        file = self.files.find(release, report)
        if release.architecture == "program":
            if not self.programs:
                raise unloadable(release, "exported programs are code, and not allowed; see ARCHETYPE_ALLOW_PROGRAMS")
            if file is None:
                raise unloadable(release, "an exported program needs weights, which are the program")
            network = load_program(file[0], release)
        else:
            network = build_architecture(release, self.factories)
            if file is not None:
                fill_weights(network, read_weights(file[0], release), release)
        network.to(device).eval()
        return Loaded(network, describe_network(network, file[1] if file else _digest_of(network), release, device))


class Networks:
    """Loaded networks; the least recently used ones are dropped where all take more memory than they may.

    Attributes:
        compared: Releases, by reference and digest, that are what they were when they were first described.

    Args:
        memory: Bytes that networks may take; a larger one is kept alone.
    """

    def __init__(self, loader: Loader, *, device: torch.device, memory: int = 4_000_000_000) -> None:
        self.loader = loader
        self.device = device
        self.compared: set[tuple[str, str]] = set()
        self._memory = memory
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def load(self, release: Release, report: Report = ignore) -> Loaded:
        """The release's network, prepared; raises as `Loader.load` does."""
        if release.reference not in self._loaded:
            loaded = self.load_apart(release, report)
            self._loaded[release.reference] = Loaded(prepare(loaded.network, self.device), loaded.description)
            self._make_room()
        self._loaded.move_to_end(release.reference)
        return self._loaded[release.reference]

    def load_apart(self, release: Release, report: Report = ignore) -> Loaded:
        """The release's network as it is, not kept; where memory runs out, without those that are; raises as `load`."""
        try:
            return self.loader.load(release, self.device, report)
        except RuntimeError as error:
            if not self._loaded or not is_out_of_memory(error):
                raise
        # Outside the handler: the error holds on to what was allocated.
        log.warning("networks.dropped", models=self.references)
        self._loaded.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.loader.load(release, self.device, report)

    def _make_room(self) -> None:
        while len(self._loaded) > 1 and sum(one.bytes for one in self._loaded.values()) > self._memory:
            reference, _ = self._loaded.popitem(last=False)
            log.info("network.dropped", model=reference)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    @property
    def references(self) -> list[str]:
        """The releases that are in memory."""
        return list(self._loaded)

    def load_original(self, release: Release) -> nn.Module:
        """The release's network as it is, not prepared, not kept, on the CPU; raises as `load` does."""
        return self.loader.load(release, torch.device("cpu")).network

    @contextmanager
    def open(self, release: Release, report: Report = ignore) -> Iterator[tuple[Classifier, Loaded]]:
        """The release's network, ready to be looked into; raises as `load` does."""
        loaded, shape = self.load(release, report), release.preprocessing
        opened = open_classifier(
            loaded.network, mean=shape.levels_mean, std=shape.levels_std, size=shape.size, device=self.device,
            score_layer=release.score_layer, habits=loaded.habits,
        )  # fmt: skip
        with opened as classifier:
            yield classifier, loaded


def describe_releases(catalogue: Catalogue, networks: Networks, storage: Storage, records: Records) -> None:
    """Stores what there is to see of every release that no worker has described yet: the API has no torch.

    What would have to be fetched first is left for its first job, and so is what two workers did not survive.
    """
    for release in catalogue:
        try:
            known = storage.load_description(release.name, release.release)
            if known is not None or not networks.loader.files.is_here(release):
                continue
            what = f"describe:{release.reference}"
            if records.count_try(what) > MOST_LOOKS:
                log.warning("release.shunned", model=release.reference)
                continue
            loaded = networks.loader.load(release, networks.device)
            records.forget_tries(what)
            storage.save_description(release.name, release.release, loaded.description)
        except Exception as error:  # one release must not keep the others from being described
            log.warning("release.undescribed", model=release.reference, error=str(error))


def describe_network(network: nn.Module, digest: str, release: Release, device: torch.device) -> Description:
    """Tries a network on two empty pictures: every named layer with its kind and the shape of its output.

    Raises:
        UnloadableModel: It does not take such pictures, or does not give a score per class.
    """
    layers = [name for name, _ in network.named_modules() if name]
    shape = release.preprocessing
    pictures = torch.zeros(2, shape.channels, *shape.size, device=device)
    try:
        with torch.no_grad(), watch(network, layers, strict=False) as seen:
            scores = read_scores(network(pictures))
    except Exception as error:  # a network is anybody's code
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise unloadable(release, f"it does not take a picture of {shape.size}: {error}") from error
    if scores.shape[1] != len(release.classes):
        raise unloadable(release, f"it gives {scores.shape[1]} scores for {len(release.classes)} class names")
    described = [_describe_layer(name, module, seen.get(name), shape.size) for name, module in network.named_modules()]
    count = sum(weight.numel() for weight in network.parameters())
    return Description(sha256=digest, parameters=count, layers=described[1:])  # the first is the network itself


def _describe_layer(name: str, module: nn.Module, output: torch.Tensor | None, size: tuple[int, int]) -> Layer:
    if output is None or output.ndim < 2 or len(output) != 2:  # no row per picture: it is no place to look
        return Layer(name=name, kind=type(module).__name__, filters=count_filters(module))
    channels = to_channels(output, ratio=size[0] / size[1]).shape[1]
    return Layer(
        name=name, kind=type(module).__name__, shape=list(output.shape[1:]), channels=channels,
        filters=count_filters(module),
    )  # fmt: skip


def count_filters(module: nn.Module) -> int | None:
    """How many filters of two dimensions a module has."""
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, torch.Tensor) and weight.ndim == 4 else None


def _digest_of(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
