"""Figures of a release without a comparison, which can be followed from release to release."""

from collections.abc import Mapping

import numpy as np

from archetype.contract.audit_plan import Probe
from worker.audit.compare import Side
from worker.audit.map_similarity import fraction_inside


def compute_figures(subject: Side, probes: Mapping[str, Probe]) -> dict[str, float]:
    """Figures from 0 to 1. A figure that the audit did not measure is left out.

    - `accuracy`: fraction of the probes that are classified correctly.
    - `confidence`: mean probability of the probes' true classes.
    - `focus`: mean fraction of the saliency maps inside the true boxes.
    - `recognised`: fraction of its own class models that the release assigns to their class.
    """
    looks = list(subject.looks.values())
    inside = [fraction_inside(look.picture, probes[look.image].boxes) for look in looks if look.image in probes]
    models = [model for series in subject.models.values() for model in series]
    values = {
        "accuracy": [float(look.right) for look in looks],
        "confidence": [float(look.verdict["probability"]) for look in looks],
        "focus": [fraction for fraction in inside if fraction is not None],
        "recognised": [float(model.verdict["rank"] == 1) for model in models],
    }
    return {name: round(float(np.mean(sample)), 6) for name, sample in values.items() if sample}
