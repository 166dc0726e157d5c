"""What the parts promise each other: menu and methods, README and menu, the engine and the outside."""

import ast
import sys
from pathlib import Path

import pytest

from deploy.gallery import SHOWN
from shared.methods import MENU

ROOT = Path(__file__).parents[1]


def test_every_method_of_the_menu_is_one_file_and_the_other_way_round() -> None:
    files = {path.stem for path in (ROOT / "worker" / "methods").glob("*.py")} - {"__init__"}
    assert files == set(MENU) | {"audit"}  # which is asked for in a way of its own


def test_the_readme_describes_every_method() -> None:
    readme = (ROOT / "README.md").read_text()
    for method in MENU:
        assert f"| `{method}` |" in readme


def test_every_method_has_a_picture_and_the_gallery_makes_it() -> None:
    readme = (ROOT / "README.md").read_text()
    assert set(SHOWN) == set(MENU)
    for method in MENU:
        assert f"docs/methods/{method}.jpg" in readme
        assert (ROOT / "docs" / "methods" / f"{method}.jpg").is_file()


def test_every_parameter_says_what_it_is() -> None:
    for kind in MENU.values():
        for name, field in kind.model_fields["params"].annotation.model_fields.items():
            assert field.description, f"{kind.__name__}.{name} has no description"


ENGINE = sorted((ROOT / "worker" / "engine").rglob("*.py"))
OUTSIDE = {"torch", "torchvision", "numpy", "PIL", "cv2", "worker"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_the_engine_imports_nothing_that_a_bare_gpu_machine_lacks(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= OUTSIDE
        assert all(name.startswith("worker.engine") for name in names if name.startswith("worker"))


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in ROOT.glob("*/**/__init__.py"):
        if not path.relative_to(ROOT).parts[0].startswith(".venv"):
            (statement,) = ast.parse(path.read_text()).body
            assert isinstance(statement, ast.Expr)


def test_only_the_settings_read_the_environment() -> None:
    for folder in ("shared", "api", "worker"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name == "settings.py" or "os.environ" not in path.read_text(), path
            assert "getenv" not in path.read_text(), path
