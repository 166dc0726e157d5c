"""Penultimate features of the probes in both networks. One batch of images is in memory at a time."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.audit.maps.faithfulness import AT_ONCE, LabeledView, spread, stack
from worker.engine.model.classifier import Classifier
from worker.engine.model.last_layer import extract_features, find_last_layer
from worker.engine.model.network_call import NetworkError

MAX_PROBES = 2000
"""Probes whose features are compared, spread over the classes: their distances take 32 MB per network."""


@dataclass(frozen=True)
class Features:
    """Features of the probes in one network.

    Attributes:
        values: Penultimate features, (N, D).
        scores: Class scores, (N, K).
        weights: Weights of the last layer, (K, D).
    """

    values: Tensor
    scores: Tensor
    weights: Tensor


def choose_probes(probes: Sequence[LabeledView]) -> list[LabeledView]:
    """The probes whose features are compared."""
    return spread(probes, MAX_PROBES)


def compute_features(classifier: Classifier, probes: Sequence[LabeledView]) -> Generator[None, None, Features | None]:
    """Computes the features of probes, and yields after each batch; None if the network has no last layer."""
    layer = find_last_layer(classifier)
    if layer is None or not probes:
        return None
    parts: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(probes), AT_ONCE):
        inputs, _ = stack(classifier, probes[start : start + AT_ONCE])
        try:
            parts.append(extract_features(classifier, layer, inputs))
        except (NetworkError, ValueError):
            return None
        yield
    values, scores = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Features(values, scores, layer.weights.cpu())
