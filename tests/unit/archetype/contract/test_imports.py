"""The contract can be installed with pydantic alone."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MODULES = sorted((ROOT / "sdk" / "archetype" / "contract").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_contract_imports_pydantic_and_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for branch in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING":
            branch.body = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            package = name.partition(".")[0]
            assert package in {"pydantic", *sys.stdlib_module_names} or name.startswith("archetype.contract."), name
