"""A small release that tests register."""

from typing import Any

from tests.support.networks import small

STATE = small(3).state_dict()
ENTRY: dict[str, Any] = {
    "name": "mine",
    "architecture": "factory:small",
    "arguments": {"channels": 3},
    "classes": ["one", "two", "three"],
    "preprocessing": {"size": [16, 16]},
}
