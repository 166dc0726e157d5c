"""The container images contain every module that they import."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCES = {
    "archetype": ROOT / "sdk" / "archetype",
    **{name: ROOT / name for name in ("shared", "api", "worker")},
}
"""The folder of each package of the project."""

each_image = pytest.mark.parametrize("image", ["api", "worker"])


def list_copied(image: str) -> list[str]:
    """Returns the paths that a Dockerfile copies from the checkout to /app."""
    text = (ROOT / "deploy" / f"{image}.Dockerfile").read_text()
    return re.findall(r"^COPY (\S+) /app/\S+$", text, re.MULTILINE)


def list_modules(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def list_imported_packages(module: Path) -> Iterator[str]:
    """Yields the packages that a module imports; of `deploy`, which images contain in part, the modules."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, name = node.module.partition(".")
            yield f"{package}/{name}.py" if package == "deploy" else package


@each_image
def test_an_image_contains_the_packages_of_the_project_that_it_imports(image: str) -> None:
    copied = [ROOT / path for path in list_copied(image)]
    modules = [module for path in copied for module in list_modules(path)]
    imported = {name for module in modules for name in list_imported_packages(module)}
    assert {"archetype", "shared"} <= imported
    assert {SOURCES[name] for name in imported & SOURCES.keys()} <= set(copied)
    assert {ROOT / name for name in imported if name.startswith("deploy/")} <= set(copied)


@each_image
def test_the_build_context_contains_every_copied_path(image: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(list_copied(image)) <= allowed
    assert all((ROOT / path).exists() for path in list_copied(image))


@each_image
def test_a_package_is_copied_to_the_folder_of_its_import_name(image: str) -> None:
    text = (ROOT / "deploy" / f"{image}.Dockerfile").read_text()
    for source, target in re.findall(r"^COPY (\S+) /app/(\S+)$", text, re.MULTILINE):
        assert source.removeprefix("sdk/") == target
