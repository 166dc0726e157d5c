"""What changed: groups of probes that one release places next to each other and the other release does not.

The difference of two representations follows RDX (arXiv 2505.23917): differences of distances count the more the closer
a pair is in one of the two. Distances are relative to the median, where RDX takes ranks, which change by chance within
a tight cluster. The groups are found greedily, where RDX clusters the graph.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from archetype.contract.audit import ChangedGroup
from archetype.contract.class_names import ClassNames
from worker.audit.maps.faithfulness import LabeledView

MAX_GROUPS, MAX_IMAGES, MIN_IMAGES = 3, 9, 4

STEEPNESS, SMALL = 0.5, 0.25
"""Weight of the relative difference of two distances; a distance (relative to the median) that counts as small."""

MIN_AFFINITY = 0.5
"""Least affinity of an image to the first one of its group."""


@dataclass(frozen=True)
class Group:
    """A group of probes.

    Attributes:
        kind: Whether the subject places the images together (`confused`) or the baseline does (`separated`).
        members: Places of the images in the list of probes, the central one first.
        strength: Mean affinity of the images to the central one, 0 to 1.
    """

    kind: Literal["confused", "separated"]
    members: tuple[int, ...]
    strength: float


def measure_distances(features: Tensor) -> Tensor:
    """Distances of the directions of features, relative to the median distance: (N, N).

    Args:
        features: Features (N, D); their lengths do not count.
    """
    directions = functional.normalize(features.double(), dim=1)
    distances = (2 - 2 * directions @ directions.T).clamp_min(0).sqrt()  # ‖a − b‖ of unit vectors
    rows, columns = torch.triu_indices(len(distances), len(distances), offset=1)
    median = distances[rows, columns].median() if len(rows) else distances.new_tensor(1.0)
    return distances / median.clamp_min(1e-9)


def compare_distances(near: Tensor, far: Tensor) -> Tensor:
    """How much closer each pair is in one network than in the other: (N, N), from 0 to 1; 0 on the diagonal.

    Args:
        near: Distances (N, N) in the network that places the pair together.
        far: Distances (N, N) in the other network.
    """
    affinity = (STEEPNESS * (far - near) / (torch.minimum(near, far) + SMALL)).tanh().clamp_min(0)
    return affinity.fill_diagonal_(0)


def find_groups(before: Tensor, after: Tensor) -> list[Group]:
    """Groups of probes by their features (N, D) in the baseline and in the subject, the strongest first."""
    first, second = measure_distances(before), measure_distances(after)
    groups = [
        *_cut(compare_distances(second, first), "confused"),
        *_cut(compare_distances(first, second), "separated"),
    ]
    return sorted(groups, key=lambda group: group.strength * len(group.members), reverse=True)[:MAX_GROUPS]


def _cut(affinity: Tensor, kind: Literal["confused", "separated"]) -> Iterator[Group]:
    """Takes the image with the strongest neighbors, together with them, and continues with the others."""
    affinity = affinity.clone()
    count = min(MAX_IMAGES - 1, len(affinity) - 1)
    for _ in range(MAX_GROUPS if count > 0 else 0):
        values, neighbors = affinity.topk(count, dim=1)
        center = int((values * (values >= MIN_AFFINITY)).sum(1).argmax())
        chosen = neighbors[center][values[center] >= MIN_AFFINITY]
        if len(chosen) + 1 < MIN_IMAGES:
            return
        yield Group(kind, (center, *chosen.tolist()), float(affinity[center, chosen].mean()))
        members = torch.cat([chosen, chosen.new_tensor([center])])
        affinity[members] = 0
        affinity[:, members] = 0


def describe_groups(groups: Sequence[Group], probes: Sequence[LabeledView], names: ClassNames) -> list[ChangedGroup]:
    """The groups with the ids of their images and a sentence."""
    described = []
    for group in groups:
        classes = Counter(names.label(probes[member].target) for member in group.members)
        described.append(
            ChangedGroup(
                kind=group.kind,
                images=[probes[member].image for member in group.members],
                classes=dict(classes),
                strength=group.strength,
                description=_describe(group, classes),
            )
        )
    return described


def _describe(group: Group, classes: Counter[str]) -> str:
    listed = ", ".join(f"{count} of {name}" for name, count in classes.most_common())
    if group.kind == "confused":
        return f"the subject places these {len(group.members)} probes together, the baseline does not: {listed}"
    return f"the baseline places these {len(group.members)} probes together, the subject does not: {listed}"
