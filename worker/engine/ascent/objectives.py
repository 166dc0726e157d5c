"""Objectives: the value of a network's outputs that an ascent maximizes. Objectives are always maximized."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import sum_rows
from worker.engine.model.classifier import Outputs


class Objective(Protocol):
    """A value for each image."""

    @property
    def layers(self) -> frozenset[str]:
        """Names of the layers whose outputs the objective reads."""

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,) of N images from the network's outputs and each image's target (N,)."""


@dataclass(frozen=True)
class ClassScore:
    """The target's score before the softmax, S_c (Simonyan et al. 2013, arXiv 1312.6034, section 2)."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        return outputs.scores.gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class ClassProbability:
    """The target's probability. It also rises if other scores fall, and has no gradient where it is close to 1."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        return outputs.probabilities().gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class LogProbability:
    """The logarithm of the target's probability; with a softmax S_c − log Σ exp S."""

    layers: frozenset[str] = frozenset()

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        return outputs.log_probabilities().gather(1, targets[:, None]).squeeze(1)


@dataclass(frozen=True)
class Channel:
    """The spatial mean of a channel of a layer (Olah et al. 2017, doi:10.23915/distill.00007).

    Attributes:
        layer: Name of the layer.
        channel: Index of the channel; None for each slot's target.
    """

    layer: str
    channel: int | None = None

    @property
    def layers(self) -> frozenset[str]:
        """The layer."""
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        return pick_channel(outputs, self.layer, self.channel, targets).flatten(1).mean(1)


@dataclass(frozen=True)
class Neuron:
    """One unit of a channel of a layer.

    Attributes:
        layer: Name of the layer.
        channel: Index of the channel; None for each slot's target.
        row: Row of the unit; None for the middle.
        column: Column of the unit; None for the middle.
    """

    layer: str
    channel: int | None = None
    row: int | None = None
    column: int | None = None

    @property
    def layers(self) -> frozenset[str]:
        """The layer."""
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
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
    """The Euclidean norm of a layer's output: DeepDream's objective (Mordvintsev et al. 2015).

    Attributes:
        layer: Name of the layer.
    """

    layer: str

    @property
    def layers(self) -> frozenset[str]:
        """The layer."""
        return frozenset([self.layer])

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Computes the values (N,); see `Objective`."""
        # In float32: the sum of squares of a large layer exceeds the range of half precision.
        return sum_rows(outputs.activations[self.layer].float().square()).clamp_min(1e-30).sqrt()


@dataclass(frozen=True)
class FeatureTarget:
    """Features that an image should have.

    Attributes:
        layer: Name of the layer.
        features: The layer's output for one image (…).
    """

    layer: str
    features: Tensor


@dataclass(frozen=True)
class FeatureMatch:
    """−‖Φ(I) − Φ₀‖², feature inversion (Mahendran and Vedaldi 2014, arXiv 1412.0035, equation 1).

    Each slot has its own layer and features: its target is an index into `wanted`.

    Attributes:
        wanted: The features Φ₀.
        relative: Whether the distance is divided by ‖Φ₀‖², so that it is comparable between layers.
    """

    wanted: Sequence[FeatureTarget]
    relative: bool = True

    @property
    def layers(self) -> frozenset[str]:
        """The layers of all targets."""
        return frozenset(target.layer for target in self.wanted)

    @cached_property
    def tables(self) -> dict[str, "Table"]:
        """The targets of each layer, by its name."""
        return {layer: _tabulate(self.wanted, layer) for layer in sorted(self.layers)}

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        # Computes every layer's distance for every slot and keeps that of the slot's layer: no GPU waits for the host.
        total = torch.zeros(len(targets), device=targets.device)
        for layer, table in self.tables.items():
            rows = table.rows[targets]
            distance = sum_rows((outputs.activations[layer].float() - table.features[rows]).square())  # (N,)
            if self.relative:
                distance = distance / table.lengths[rows]
            total = total - torch.where(table.chosen[targets], distance, 0)
        return total


@dataclass(frozen=True)
class Table:
    """The targets of one layer, K of all T targets.

    Attributes:
        features: Φ₀ of each (K, …).
        lengths: ‖Φ₀‖² of each (K,).
        rows: The row in this table of each of all targets (T,); 0 for targets of other layers.
        chosen: Whether each of all targets belongs to this layer (T,).
    """

    features: Tensor
    lengths: Tensor
    rows: Tensor
    chosen: Tensor


def _tabulate(wanted: Sequence[FeatureTarget], layer: str) -> Table:
    own = [number for number, target in enumerate(wanted) if target.layer == layer]
    features = torch.stack([wanted[number].features for number in own]).float()
    rows = torch.zeros(len(wanted), dtype=torch.int64, device=features.device)
    chosen = torch.zeros(len(wanted), dtype=torch.bool, device=features.device)
    rows[own], chosen[own] = torch.arange(len(own), device=features.device), True
    return Table(features, sum_rows(features.square()).clamp_min(1e-12), rows, chosen)


@dataclass(frozen=True)
class WeightedSum:
    """Σ weight · objective.

    Attributes:
        terms: Pairs of a weight and an objective.
    """

    terms: Sequence[tuple[float, Objective]]

    @property
    def layers(self) -> frozenset[str]:
        """The layers of all terms."""
        return frozenset().union(*(objective.layers for _, objective in self.terms))

    def __call__(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Computes the values (N,); see `Objective`."""
        return torch.stack([weight * objective(outputs, targets) for weight, objective in self.terms]).sum(0)


def pick_channel(outputs: Outputs, layer: str, channel: int | None, targets: Tensor) -> Tensor:
    """Selects a channel of a layer's output.

    Args:
        outputs: The network's outputs for N images.
        layer: Name of the layer.
        channel: Index of the channel; None for each image's target.
        targets: Target of each image (N,).

    Returns:
        The channel of each image: (N, h, w), (N, T) or (N,).

    Raises:
        ValueError: The layer has no such channel.
    """
    features = outputs.channels(layer)  # (N, K, …)
    largest = int(targets.max()) if channel is None else channel
    if largest >= features.shape[1]:
        raise ValueError(f"layer {layer!r} has {features.shape[1]} channels, there is no channel {largest}")
    if channel is not None:
        return features[:, channel]
    return features[torch.arange(len(features), device=features.device), targets]
