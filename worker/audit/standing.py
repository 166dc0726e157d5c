"""How a release stands by itself: figures that can be followed from release to release."""

from collections.abc import Mapping

import numpy as np

from shared.parameters.audit import Probe
from worker.audit.attention import share_inside
from worker.audit.compare import Side


def describe_standing(subject: Side, probes: Mapping[str, Probe]) -> dict[str, float]:
    """Shares from 0 to 1; what was not looked at is not there.

    - `accuracy`: of the probes that it gets right; `confidence`: the mean probability of their true classes.
    - `focus`: of what its maps show, inside the true boxes.
    - `recognised`: of its own class models that it takes for the class.
    """
    looks = list(subject.looks.values())
    inside = [share_inside(look.picture, probes[look.image].boxes) for look in looks if look.image in probes]
    drawn = [one for series in subject.models.values() for one in series]
    values = {
        "accuracy": [float(look.right) for look in looks],
        "confidence": [float(look.verdict["probability"]) for look in looks],
        "focus": [share for share in inside if share is not None],
        "recognised": [float(one.verdict["rank"] == 1) for one in drawn],
    }
    return {name: round(float(np.mean(found)), 6) for name, found in values.items() if found}
