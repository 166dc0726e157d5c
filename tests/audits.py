"""A small plan for tests: two classes, few steps, the four pictures of the demo."""

from pathlib import Path
from typing import Any

from shared.client import Client

PICTURES = Path(__file__).parents[1] / "deploy" / "pictures"


def write_plan(client: Client, **changes: Any) -> dict[str, Any]:
    """A plan over `shapes`, as JSON; its probes are uploaded."""
    probes = [
        {
            "id": client.upload(path.read_bytes()).id,
            "target": path.stem.replace("-", " "),
            "boxes": [{"left": 10, "top": 10, "right": 70, "bottom": 70}],
        }
        for path in sorted(PICTURES.glob("*.png"))
    ]
    plan = {
        "name": "small", "classes": ["lemon", "bee"], "seeds": [1, 2], "noise_seeds": [3, 4], "probes": probes,
        "class_models": {"steps": 8, "extras": False}, "saliency": {"outputs": ["raw"]}, "baselines": ["shapes@1"],
    }  # fmt: skip
    return plan | changes
