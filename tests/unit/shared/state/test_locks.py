"""Every use of a lock in the code checks that the lock was acquired."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

FILES = [path for folder in ("api", "shared", "worker", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))]


def find_unchecked(tree: ast.AST) -> Iterator[int]:
    """The lines of `with ….try_lock(…)` blocks that do not compare the lock with None."""
    for block in ast.walk(tree):
        for item in block.items if isinstance(block, ast.With) else []:
            if isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr.func).endswith(
                ("try_lock", "try_renewed_lock")
            ):
                name = ast.unparse(item.optional_vars) if item.optional_vars else None
                checks = [ast.unparse(node) for node in ast.walk(block) if isinstance(node, ast.Compare)]
                if not {f"{name} is None", f"{name} is not None"} & set(checks):
                    yield block.lineno


def test_a_lock_that_was_not_acquired_is_never_treated_as_held() -> None:
    assert [(path.name, line) for path in FILES for line in find_unchecked(ast.parse(path.read_text()))] == []


@pytest.mark.parametrize(
    ("code", "unchecked"),
    [
        ("with locks.try_lock('it', 60): work()", [1]),
        ("with locks.try_lock('it', 60) as held: work()", [1]),
        ("with locks.try_lock('it', 60) as held:\n if held is None: raise Busy", []),
    ],
)
def test_a_use_without_a_check_is_found(code: str, unchecked: list[int]) -> None:
    assert list(find_unchecked(ast.parse(code))) == unchecked
