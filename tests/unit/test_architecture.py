"""What holds for the whole tree: methods and contract, documentation and methods, imports, layout, language."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from archetype.contract.request import METHODS
from archetype.version import VERSION
from deploy.demos.gallery import REQUESTS
from tests.support.paths import ROOT


def test_every_method_of_the_menu_is_one_file_and_the_other_way_round() -> None:
    files = {path.stem for path in (ROOT / "worker" / "methods").glob("*.py")} - {"__init__", "registry"}
    assert files == set(METHODS) | {"audit"}  # which is asked for in a way of its own


def test_the_readme_describes_every_method() -> None:
    readme = (ROOT / "README.md").read_text()
    for method in METHODS:
        assert f"| `{method}` |" in readme


def test_the_page_of_methods_describes_every_method_with_an_image_of_the_gallery() -> None:
    page = (ROOT / "docs" / "methods.md").read_text()
    assert set(REQUESTS) == set(METHODS)
    for method in METHODS:
        assert f"## {method}\n" in page
        assert f"(methods/{method}.jpg)" in page
        assert (ROOT / "docs" / "methods" / f"{method}.jpg").is_file()


def test_every_parameter_says_what_it_is() -> None:
    for kind in METHODS.values():
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


WITH_PUBLIC_NAMES = {ROOT / "sdk" / "archetype" / name for name in ("__init__.py", "contract/__init__.py")}
"""Packages whose `__init__` imports names on first use; `tests/unit/archetype/test_public_names.py` checks which."""


SHAPE = re.compile(r"\([A-Z…][^()]*\)|\(…|any shape|scalar")


def list_tensor_functions(path: Path) -> list[ast.FunctionDef]:
    """The public functions and methods of a module that take a tensor, without those of autograd functions."""
    tree = ast.parse(path.read_text())
    classes = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and "Function" not in ast.unparse(node)[:80]
    ]
    nodes = [*tree.body, *(node for owner in classes for node in owner.body)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return [node for node in functions if re.search(r"\bTensor\b", ast.unparse(node.args))]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT / "worker" / "engine")))
def test_every_public_function_of_the_engine_documents_the_shapes_of_its_tensors(path: Path) -> None:
    functions = list_tensor_functions(path)
    assert [node.name for node in functions if not SHAPE.search(ast.get_docstring(node) or "")] == []


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in set(ROOT.glob("*/**/__init__.py")) - WITH_PUBLIC_NAMES:
        if not path.relative_to(ROOT).parts[0].startswith(".venv"):
            (statement,) = ast.parse(path.read_text()).body
            assert isinstance(statement, ast.Expr)


def test_packages_with_public_names_define_no_functions_or_classes_of_their_own() -> None:
    for path in WITH_PUBLIC_NAMES:
        docstring, *statements = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr)
        assert all(isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.If) for node in statements)


def test_only_the_settings_read_the_environment() -> None:
    for folder in ("shared", "api", "worker"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name == "settings.py" or "os.environ" not in path.read_text(), path
            assert "getenv" not in path.read_text(), path


PACKAGES = ("sdk/archetype", "shared", "api", "worker", "deploy", "benchmarks", "tools")
MAX_MODULES = 14


def test_no_folder_has_more_modules_than_a_reader_can_scan() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    counts = {folder: len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) for folder in folders}
    assert {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MAX_MODULES} == {}


UNIT = ROOT / "tests" / "unit"


@pytest.mark.parametrize("path", sorted(UNIT.rglob("test_*.py")), ids=lambda path: str(path.relative_to(UNIT)))
def test_the_folder_of_a_unit_test_is_the_folder_of_its_module(path: Path) -> None:
    folder = path.relative_to(UNIT).parent
    source = Path("sdk") / folder if folder.parts[:1] == ("archetype",) else folder
    assert (ROOT / source).is_dir()


def test_readme_and_architecture_are_short_enough_to_be_read() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8_000
    assert (ROOT / "ARCHITECTURE.md").stat().st_size <= 12_000


def test_product_text_is_plain() -> None:
    riddles = re.compile(r"\b(whoever|nobody|somebody|everybody)\b", re.IGNORECASE)
    suffixes = {".py", ".md", ".html", ".js", ".lua", ".toml", ".yaml", ".yml"}
    product = [ROOT / name for name in (*PACKAGES, "docs", "README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
    files = [file for path in product for file in ([path] if path.is_file() else path.rglob("*"))]
    lines = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in files
        if file.suffix in suffixes
        for line in file.read_text().splitlines()
        if riddles.search(line)
    ]
    assert len(lines) <= 5, "\n".join(lines)


def test_the_service_requires_the_client_of_its_own_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"archetype-client=={VERSION}" in project["dependencies"]


PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:sdk|shared|api|worker|deploy|tests|tools|benchmarks|docs)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = [path for path in PATH.findall(page.read_text()) if "NAME" not in path and not (ROOT / path).exists()]
    assert missing == []


STRICT_JSON = {ROOT / "sdk" / "archetype" / "contract" / "strict_json.py"}
"""The module that writes and reads JSON for all others, without NaN and Infinity."""

OWN_JSON = {ROOT / "worker" / "models" / "plan_cache.py"}
"""Modules whose JSON no other program reads."""


@pytest.mark.parametrize("package", ["sdk/archetype", "shared", "api", "worker"])
def test_json_is_written_and_read_strictly(package: str) -> None:
    calls = re.compile(r"\bjson\.(dumps?|loads?)\(|\.get_json\(")
    files = set((ROOT / package).rglob("*.py")) - STRICT_JSON - OWN_JSON
    assert [str(path.relative_to(ROOT)) for path in sorted(files) if calls.search(path.read_text())] == []
