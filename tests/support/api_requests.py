"""Requests of jobs that tests of the API submit."""

from collections.abc import Callable
from typing import Any

import httpx2

QUICK: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 4}}
LONG: dict[str, Any] = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 3000}}
OTHER_LANE: dict[str, Any] = LONG | {"model": "grey"}
"""A job of another lane: it waits while the worker runs a long job."""

Submit = Callable[..., httpx2.Response]
"""The fixture `submit`: takes a body, and headers as keyword arguments with underscores for hyphens."""
