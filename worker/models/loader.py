"""Loads the network of a release, describes it, and caches the networks in use."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
import torch
from torch import nn

from archetype.contract.model import Description
from shared.catalogue.release import Release
from worker.engine.model.classifier import Classifier, ProbedTraits, open_classifier
from worker.engine.model.microbatch import is_out_of_memory
from worker.engine.model.prepare import PreparedNetwork, move_tensors, prepare
from worker.models.architectures import load_program, unloadable
from worker.models.build_network import build_network
from worker.models.description import describe_network, draw_inputs, probe
from worker.models.download_cache import Report, ignore
from worker.models.weight_files import WeightFiles

log = structlog.get_logger()


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in memory.

    Attributes:
        network: The network, in evaluation mode.
        description: Digest and layers, read before the network was prepared.
        traits: Traits of the network: its scores and layouts, and others when they are first needed.
        prepared: The network ready for many passes; None before it was prepared.
    """

    network: nn.Module
    description: Description
    traits: ProbedTraits
    prepared: PreparedNetwork | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights file, or of the weights themselves if there is no file."""
        return self.description.sha256

    @property
    def bytes(self) -> int:
        """Size of its weights and buffers in memory."""
        networks = {self.network} | ({self.prepared.network} if self.prepared else set())
        tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


@dataclass(frozen=True)
class Loader:
    """Loads networks; it caches nothing.

    Attributes:
        factories: The operator's factories, name to "package.module:function".
        files: Finds the weights files.
        programs: Whether exported programs, which are code, may be loaded.
    """

    factories: Mapping[str, str] = field(default_factory=dict)
    files: WeightFiles = field(default_factory=WeightFiles)
    programs: bool = False

    def load(self, release: Release, device: torch.device, report: Report = ignore) -> LoadedModel:
        """Builds a network, loads its weights, and describes it by a few forward passes.

        Args:
            release: The release to load.
            device: The device for the network.
            report: Called with the progress of a download.

        Raises:
            UnloadableModel: The network cannot be built, its weights do not fit, or it does not return one score for
                each class.
        """
        file, notes = self.files.find(release, report), list[str]()
        if release.architecture == "program":
            network = self._load_program(release, file[0] if file else None)
        else:
            network, notes = build_network(release, file[0] if file else None, self.factories)
        network = getattr(network, "_orig_mod", network)  # a compiled network would be compiled again for every batch
        network.to(device).eval().requires_grad_(False)
        move_tensors(network, device)
        traits = probe(network, release, device)
        digest = file[1] if file else _digest_of(network)
        description = describe_network(network, digest, traits)
        return LoadedModel(network, description.model_copy(update={"notes": [*notes, *description.notes]}), traits)

    def _load_program(self, release: Release, path: Path | None) -> nn.Module:
        if not self.programs:
            raise unloadable(release, "exported programs are code, and not allowed; see ARCHETYPE_EXPORTED_PROGRAMS")
        if path is None:
            raise unloadable(release, "an exported program needs weights, which are the program")
        return load_program(path, release)


class ModelCache:
    """Loads networks and caches them; if they take too much memory, it drops the least recently used ones."""

    def __init__(self, loader: Loader, *, device: torch.device, memory: int = 4_000_000_000) -> None:
        """Creates an empty cache.

        Args:
            loader: Loads the networks.
            device: The device of all networks.
            memory: Bytes that all networks may take together; a larger network is cached alone.
        """
        self.loader = loader
        self.device = device
        self._memory = memory
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    def load(self, release: Release, report: Report = ignore) -> LoadedModel:
        """Returns the prepared network of a release; raises as `Loader.load`."""
        if release.identity not in self._loaded:
            loaded = self.load_uncached(release, report)
            inputs = draw_inputs(release.preprocessing, self.device)
            taps = loaded.traits.scores.reader.taps if loaded.traits.scores else []
            # A folded batch norm is not called, and the calls after it would have other numbers.
            fold = all("batch_norm" not in tap.function for tap in taps)
            prepared = prepare(loaded.network, self.device, inputs, fold=fold)
            self._loaded[release.identity] = replace(loaded, prepared=prepared)
            self._make_room()
        self._loaded.move_to_end(release.identity)
        return self._loaded[release.identity]

    def load_uncached(self, release: Release, report: Report = ignore) -> LoadedModel:
        """Loads a network that is neither prepared nor cached; raises as `Loader.load`.

        If memory runs out, all cached networks are dropped, and it is loaded again.
        """
        try:
            return self.loader.load(release, self.device, report)
        except RuntimeError as error:
            if not self._loaded or not is_out_of_memory(error):
                raise
        # Outside the handler, because the exception keeps references to allocated tensors.
        log.warning("networks.dropped", models=self.identities)
        self._loaded.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.loader.load(release, self.device, report)

    def _make_room(self) -> None:
        while len(self._loaded) > 1 and sum(loaded.bytes for loaded in self._loaded.values()) > self._memory:
            identity, _ = self._loaded.popitem(last=False)
            log.info("network.dropped", model=identity)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def discard(self, identity: str) -> None:
        """Drops the network of a release from the cache, if it is there."""
        self._loaded.pop(identity, None)

    @property
    def identities(self) -> list[str]:
        """Identities of the releases that are in the cache."""
        return list(self._loaded)

    def load_original(self, release: Release) -> nn.Module:
        """Loads a network on the CPU that is neither prepared nor cached; raises as `Loader.load`."""
        return self.loader.load(release, torch.device("cpu")).network

    @contextmanager
    def open(self, release: Release, report: Report = ignore) -> Iterator[tuple[Classifier, LoadedModel]]:
        """Opens a classifier on the network of a release until the block ends; raises as `Loader.load`."""
        loaded, preprocessing = self.load(release, report), release.preprocessing
        opened = open_classifier(
            loaded.prepared or loaded.network,
            mean=preprocessing.levels_mean,
            std=preprocessing.levels_std,
            size=preprocessing.size,
            device=self.device,
            reverses_channels=preprocessing.channel_order == "BGR",
            traits=loaded.traits,
        )
        with opened as classifier:
            yield classifier, loaded


def _digest_of(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
