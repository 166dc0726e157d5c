"""A release that is small enough to register in a test."""

from typing import Any

from tests.networks import small

STATE = small(3).state_dict()
ENTRY: dict[str, Any] = {
    "name": "mine", "architecture": "factory:small", "arguments": {"channels": 3}, "classes": ["one", "two", "three"],
    "preprocessing": {"size": [16, 16]},
}  # fmt: skip
