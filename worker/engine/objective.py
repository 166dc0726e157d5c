"""What a picture should make a network do. Objectives are always maximised."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.classifier import Outputs
from worker.engine.grid import to_channels
from worker.engine.rows import sum_rows


class Objective(Protocol):
    """A value per picture."""

    @property
    def layers(self) -> frozenset[str]:
        """The layers whose outputs it reads."""

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """(N,), from what the network did with N pictures and the class index of each (N,)."""


@dataclass(frozen=True)
class ClassScore:
    """The target's score before the softmax (Simonyan et al. 2013, arXiv 1312.6034, section 2)."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return outputs.scores.gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class ClassProbability:
    """The target's probability. It can rise because other classes fall, and is flat where the network is sure."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return outputs.scores.softmax(1).gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class LogProbability:
    """The logarithm of the target's probability: the score, less what all classes have together."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return outputs.scores.log_softmax(1).gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class Channel:
    """The mean of a layer's channel over the picture (Olah et al. 2017, doi:10.23915/distill.00007).

    Attributes:
        channel: Its number; None for each slot's own target.
    """

    layer: str
    channel: int | None = None

    @property
    def layers(self) -> frozenset[str]:
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return pick_channel(outputs, self.layer, self.channel, targets).flatten(1).mean(1)


@dataclass(frozen=True)
class Neuron:
    """One unit of a layer's channel, the one in the middle unless told."""

    layer: str
    channel: int | None = None
    row: int | None = None
    column: int | None = None

    @property
    def layers(self) -> frozenset[str]:
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        units = pick_channel(outputs, self.layer, self.channel, targets)  # (N, …)
        while units.ndim > 3:
            units = units.flatten(1, 2)
        for position in (self.row, self.column)[3 - units.ndim :]:
            chosen = units.shape[1] // 2 if position is None else position
            if chosen >= units.shape[1]:
                raise ValueError(f"layer {self.layer!r} has {units.shape[1]} units there, there is no unit {chosen}")
            units = units[:, chosen]
        return units


@dataclass(frozen=True)
class LayerNorm:
    """The Euclidean length of all that a layer gives for a picture (Mordvintsev et al. 2015)."""

    layer: str

    @property
    def layers(self) -> frozenset[str]:
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:  # noqa: ARG002
        # In float32: the squares of a large layer are more than half precision can hold.
        return sum_rows(outputs.activations[self.layer].float().square()).clamp_min(1e-30).sqrt()


@dataclass(frozen=True)
class Wanted:
    """Features that pictures are to have.

    Attributes:
        layer: Whose they are.
        features: Of one picture: (…).
    """

    layer: str
    features: Tensor


@dataclass(frozen=True)
class FeatureMatch:
    """−‖Φ(I) − Φ₀‖², each slot's own layer and features (Mahendran and Vedaldi 2014, arXiv 1412.0035, equation 1).

    Attributes:
        wanted: A slot's target is its place in here.
        relative: Whether the distance is divided by ‖Φ₀‖², so that it means the same for every layer.
    """

    wanted: Sequence[Wanted]
    relative: bool = True

    @property
    def layers(self) -> frozenset[str]:
        return frozenset(each.layer for each in self.wanted)

    @cached_property
    def tables(self) -> dict[str, "Table"]:
        """By layer, what is wanted of it."""
        return {layer: _tabulate(self.wanted, layer) for layer in sorted(self.layers)}

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        # Every layer's distance is taken for every slot, and its own kept: no GPU waits to hear which that is.
        total = torch.zeros(len(targets), device=targets.device)
        for layer, table in self.tables.items():
            rows = table.rows[targets]
            distance = sum_rows((outputs.activations[layer].float() - table.features[rows]).square())
            if self.relative:
                distance = distance / table.lengths[rows]
            total = total - torch.where(table.chosen[targets], distance, 0)
        return total


@dataclass(frozen=True)
class Table:
    """What is wanted of one layer.

    Attributes:
        features: (K, …).
        lengths: ‖Φ₀‖² of each (K,).
        rows: Of each of all that are wanted, its row in here; 0 where it is another layer's: (T,).
        chosen: Whether it is this layer's: (T,).
    """

    features: Tensor
    lengths: Tensor
    rows: Tensor
    chosen: Tensor


def _tabulate(wanted: Sequence[Wanted], layer: str) -> Table:
    own = [place for place, each in enumerate(wanted) if each.layer == layer]
    features = torch.stack([wanted[place].features for place in own]).float()
    rows = torch.zeros(len(wanted), dtype=torch.int64, device=features.device)
    chosen = torch.zeros(len(wanted), dtype=torch.bool, device=features.device)
    rows[own], chosen[own] = torch.arange(len(own), device=features.device), True
    return Table(features, sum_rows(features.square()).clamp_min(1e-12), rows, chosen)


@dataclass(frozen=True)
class WeightedSum:
    """Σ weight · objective."""

    terms: Sequence[tuple[float, Objective]]

    @property
    def layers(self) -> frozenset[str]:
        return frozenset().union(*(objective.layers for _, objective in self.terms))

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return torch.stack([weight * objective(outputs, targets) for weight, objective in self.terms]).sum(0)


def pick_channel(outputs: Outputs, layer: str, channel: int | None, targets: Tensor) -> Tensor:
    """Each picture's channel (N, …) of what a layer gave: the same for all, or each target's own.

    Raises:
        ValueError: The layer has no such channel.
    """
    features = to_channels(outputs.activations[layer], ratio=outputs.ratio)  # (N, K, …)
    largest = int(targets.max()) if channel is None else channel
    if largest >= features.shape[1]:
        raise ValueError(f"layer {layer!r} has {features.shape[1]} channels, there is no channel {largest}")
    if channel is not None:
        return features[:, channel]
    return features[torch.arange(len(features), device=features.device), targets]
