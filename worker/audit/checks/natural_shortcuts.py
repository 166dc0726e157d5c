"""Gate `natural_shortcuts`: does one part of a class' features speak for the class in pictures of other classes?

For each class, the features of its probes are weighted by the weights of the last layer, and decomposed into principal
components. Each component adds a part to the score (Neuhaus et al. 2023, arXiv 2212.04871, section 3). A component
that gives pictures of other classes a large part of the score is what these pictures and the class have in common, such
as a background.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archetype.contract.audit import ComponentRow, Finding
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.class_names import ClassNames
from worker.audit.checks.features import Features
from worker.audit.gates import exceeds_gate
from worker.audit.maps.faithfulness import LabeledView
from worker.audit.statistics import Values, estimate_class_means

MIN_OWN, MAX_COMPONENTS, TOP, MAX_IMAGES = 4, 3, 5, 9


@dataclass(frozen=True)
class Component:
    """The component of a class that gives pictures of other classes the largest part of the score.

    Attributes:
        number: Number of the component, from 1.
        strengths: The largest parts in pictures of other classes, relative to the mean difference between the score of
            the class in its own and in other pictures; (TOP,), descending.
        highest: Places of the probes with the largest parts.
    """

    number: int
    strengths: Values
    highest: tuple[int, ...]


def decompose(weighted: Tensor, own: Tensor, count: int) -> Tensor:
    """The parts of a class score that principal components add: (N, L), 0 on average over the own pictures.

    Args:
        weighted: Features times the class' weights of the last layer, (N, D).
        own: Whether a picture is one of the class, (N,).
        count: Largest number of components L.
    """
    centered = weighted - weighted[own].mean(0)
    directions = torch.linalg.svd(centered[own], full_matrices=False).Vh[: min(count, int(own.sum()) - 1)]  # (L, D)
    parts: Tensor = (centered @ directions.T) * directions.sum(1)
    return parts


def find_component(features: Features, labels: Tensor, target: int) -> Component | None:
    """The strongest component of a class; None if there are too few pictures, or the class is not separated at all.

    Args:
        features: Features of all probes.
        labels: True classes (N,).
        target: Class index.
    """
    own = labels == target
    if int(own.sum()) < MIN_OWN or int((~own).sum()) < TOP:
        return None
    scores = features.scores[:, target].double()
    margin = float(scores[own].mean() - scores[~own].mean())
    if margin <= 0:
        return None
    parts = decompose(features.values.double() * features.weights[target].double(), own, MAX_COMPONENTS)  # (N, L)
    tops = parts[~own].topk(TOP, dim=0).values / margin  # (TOP, L)
    best = int(tops.mean(0).argmax())
    highest = parts[:, best].argsort(descending=True, stable=True)[:MAX_IMAGES]
    return Component(best + 1, tops[:, best].numpy(), tuple(highest.tolist()))


def measure_components(
    subject: Features, baseline: Features, probes: Sequence[LabeledView], names: ClassNames
) -> list[ComponentRow]:
    """The strongest component of each class in both networks, with the change."""
    labels = torch.tensor([probe.target for probe in probes])
    pairs: dict[int, tuple[Component, Component]] = {}
    for target in sorted(set(labels.tolist())):
        after, before = (find_component(features, labels, target) for features in (subject, baseline))
        if after is not None and before is not None:
            pairs[target] = after, before
    differences = {target: after.strengths - before.strengths for target, (after, before) in pairs.items()}
    changes = estimate_class_means(differences)
    return [
        ComponentRow(
            target=names.label(target),
            component=after.number,
            subject=float(np.mean(after.strengths)),
            baseline=float(np.mean(before.strengths)),
            change=changes[target],
            images=[probes[place].image for place in after.highest],
        )
        for target, (after, before) in pairs.items()
    ]


def check_components(rows: Sequence[ComponentRow], plan: AuditPlan, baseline: str) -> list[Finding]:
    """The classes of which a component has become strong in pictures of other classes."""
    gate = plan.gates.natural_shortcuts
    return [
        Finding(
            gate="natural_shortcuts",
            severity=gate.severity,
            target=row.target,
            baseline=baseline,
            change=row.change,
            noise=0.0,
            tolerance=gate.tolerance,
            reason=_explain(row),
        )
        for row in rows
        if exceeds_gate(row.change, gate, 0.0)
    ]


def _explain(row: ComponentRow) -> str:
    return (
        f"component {row.component} of the features of {row.target} gives pictures of other classes {row.subject:.1f} "
        f"times the score that separates the class from the others (baseline: {row.baseline:.1f} times)"
    )
