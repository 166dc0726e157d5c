"""The networks and pictures of `../shared/cases`; tests that use them are skipped where the folder is missing."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from archetype.contract.model import Preprocessing
from tests.support.paths import SHARED

PREPROCESSING = Preprocessing(size=(32, 32), mean=[], std=[])
"""What the networks take, unless their comment says otherwise."""


def load_cases() -> ModuleType:
    """The module `classifiers`."""
    path = SHARED / "cases" / "classifiers.py"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    spec = importlib.util.spec_from_file_location("classifiers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_case(name: str, **arguments: Any) -> Any:
    """One network, checkpoint or picture."""
    return load_cases().build(name, **arguments)
