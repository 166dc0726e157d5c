"""The network `slow` waits instead of computing: for jobs that only need to run, and leave the cores to other tests."""

import json
from collections.abc import Sequence
from typing import Any

from archetype.contract.request import ClassModel
from tests.support.paths import ROOT

CATALOGUE = ROOT / "tests" / "support" / "slow.toml"
SLOW: dict[str, Any] = {"catalogue": CATALOGUE, "factories": {"slow": "tests.support.networks:slow"}}
"""Settings with which a stack has the network."""

ENVIRONMENT = {"ARCHETYPE_CATALOGUE": str(CATALOGUE), "ARCHETYPE_FACTORIES": json.dumps(SLOW["factories"])}
"""The same settings as variables of the environment."""

NOT_FLAT: dict[str, Any] = {
    "image": "pixels",
    "start": "uniform",
    "start_scale": 1.0,
    "learning_rate": 1e-4,
    "transforms": [],
    "regularizers": [],
}
"""Parameters with which every number of steps gives an image."""


def draw_slowly(steps: int, *, targets: Sequence[int] = (0,), **params: Any) -> ClassModel:
    """A job of one target, or of the given ones, that takes a tenth of a second or more for each step."""
    fields = {"steps": steps, "extras": False, **NOT_FLAT, **params}
    return ClassModel.model_validate(
        {"method": "class_model", "model": "slow", "targets": list(targets), "params": fields}
    )
