"""A small audit plan for tests: two classes, few steps, and the four images of the demo as probes."""

from typing import Any

from archetype.client import Client
from tests.support.paths import PICTURES


def write_plan(client: Client, **changes: Any) -> dict[str, Any]:
    """Returns a plan for the model `shapes` as JSON, and uploads its probes."""
    probes = [
        {
            "id": client.upload(path.read_bytes()).id,
            "target": path.stem.replace("-", " "),
            "boxes": [{"left": 10, "top": 10, "right": 70, "bottom": 70}],
        }
        for path in sorted(PICTURES.glob("*.png"))
    ]
    plan = {
        "name": "small",
        "classes": ["lemon", "bee"],
        "seeds": [1, 2],
        "noise_seeds": [3, 4],
        "probes": probes,
        "class_models": {"steps": 8, "extras": False},
        "saliency": {"outputs": ["raw"]},
        "baselines": ["shapes@1"],
        "subject_seeds": [1, 2],
    }
    return plan | changes
