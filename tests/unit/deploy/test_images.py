"""Container images: they contain every module that they import, and are built from a known commit."""

import argparse
import ast
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archetype.version import VERSION
from deploy import images
from deploy.image_documents import Source
from deploy.images import (
    NAMES,
    build_image,
    clean_url,
    find_digest,
    list_bases,
    make_images,
    open_context,
    plan_builds,
    read_source,
)
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


def test_the_builds_name_registry_version_and_arguments() -> None:
    api, worker = plan_builds(["api", "worker"], "registry.example.org/vision/", "https://x.example.org/cu130", "-cuda")
    assert (api.tag, api.arguments) == (f"registry.example.org/vision/archetype-api:{VERSION}", {})
    assert worker.tag == f"registry.example.org/vision/archetype-worker:{VERSION}-cuda"
    assert worker.arguments == {"TORCH_INDEX": "https://x.example.org/cu130"}
    (default,) = plan_builds(["worker"], "", None, "")
    assert (default.tag, default.arguments) == (f"archetype-worker:{VERSION}", {})
    (without_index,) = plan_builds(["worker"], "", "", "")
    assert without_index.arguments == {"TORCH_INDEX": ""}


def test_the_source_of_an_image_is_the_commit_and_where_it_was_cloned_from(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "--message", "a")
    commit = git("rev-parse", "HEAD").strip()
    assert read_source(tmp_path) == Source(commit, None, changed=False)
    git("config", "status.showUntrackedFiles", "no")
    (tmp_path / "new").write_text("1")
    assert read_source(tmp_path).changed
    (tmp_path / "new").unlink()
    (tmp_path / "a").write_text("2")
    login = "someone:word"
    git("remote", "add", "origin", f"https://{login}@git.example.org/a.git")
    assert read_source(tmp_path) == Source(commit, "https://git.example.org/a.git", changed=True)
    git("remote", "set-url", "origin", str(tmp_path))
    assert read_source(tmp_path).url is None


def test_the_base_images_of_a_dockerfile_are_found() -> None:
    for build in plan_builds(list(NAMES), "", None, ""):
        assert list_bases(build) == ["python:3.11-slim-bookworm"]


def test_images_of_a_changed_checkout_are_not_pushed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "_query", lambda *_: "")
    monkeypatch.setattr(shutil, "which", lambda _: "docker")
    monkeypatch.setattr(images, "read_source", lambda: Source("0" * 40, None, changed=True))
    options = argparse.Namespace(push=True, out=tmp_path / "out")
    with pytest.raises(RuntimeError, match="commit them before you push"):
        make_images(["api"], options)
    assert not options.out.exists()


@pytest.mark.parametrize(
    ("url", "cleaned"),
    [
        ("https://git.example.org/a/b.git", "https://git.example.org/a/b.git"),
        ("https://LOGIN@git.example.org:8443/a.git", "https://git.example.org:8443/a.git"),
        ("git@git.example.org:a/b.git", "ssh://git@git.example.org/a/b.git"),
        ("ssh://LOGIN@git.example.org:2222/a.git", "ssh://user@git.example.org:2222/a.git"),
        ("/srv/git/a.git", None),
        ("file:///srv/git/a.git", None),
        ("../a", None),
        ("", None),
    ],
)
def test_the_url_of_the_source_has_no_password(url: str, cleaned: str | None) -> None:
    assert clean_url(url.replace("LOGIN", "user:pa@ss")) == cleaned


def test_an_image_is_built_from_the_commit_and_not_from_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "kept").write_text("1")
    (tmp_path / ".gitignore").write_text("ignored\n")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "ignored").write_text("1")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    source = read_source(tmp_path)
    assert not source.changed
    with open_context(source) as context:
        assert sorted(path.name for path in context.iterdir()) == [".gitignore", "kept"]
    with open_context(dataclasses.replace(source, changed=True)) as context:
        assert context == tmp_path


DOCKER = """#!/bin/sh
case "$1 $2" in
  "image inspect") echo '[{"Id": "sha256:ID", "RepoDigests": DIGESTS}]';;
  "build --network") while [ "$1" != --iidfile ]; do shift; done; printf sha256:BUILT > "$2";;
esac
"""


def write_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, **words: str) -> None:
    """Puts a `docker` on the PATH that answers as a certain engine does."""
    text = DOCKER
    for name, value in words.items():
        text = text.replace(name, value)
    (folder / "docker").write_text(text)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_builder_that_keeps_its_image_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise an older image of the same name would be pushed."""
    (build,) = plan_builds(["api"], "", None, "")
    source = Source("0" * 40, None, changed=True)
    write_docker(tmp_path, monkeypatch, ID="aa", BUILT="bb", DIGESTS="[]")
    with pytest.raises(RuntimeError, match="the builder did not store archetype-api"):
        build_image(build, source)
    write_docker(tmp_path, monkeypatch, ID="aa", BUILT="aa", DIGESTS="[]")
    build_image(build, source)


@pytest.mark.parametrize(
    ("image", "digests", "digest"),
    [
        ("r.example.org/a:1", '["other/a@sha256:cc", "r.example.org/a@sha256:bb"]', "bb"),
        ("127.0.0.1:5000/a:1", '["127.0.0.1:5000/a@sha256:bb"]', "bb"),
        ("python:3.11", '["docker.io/library/python@sha256:bb"]', "bb"),
        ("python:3.11", "null", "aa"),
        ("a:1", '["other/a@sha256:cc"]', "aa"),
    ],
)
def test_the_digest_of_the_registry_comes_before_that_of_the_engine(
    image: str, digests: str, digest: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_docker(tmp_path, monkeypatch, ID="aa", DIGESTS=digests)
    assert find_digest(image, is_pushed=False) == digest


def test_a_pushed_image_without_a_digest_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_docker(tmp_path, monkeypatch, ID="aa", DIGESTS="[]")
    with pytest.raises(RuntimeError, match="does not tell the digest"):
        find_digest("r.example.org/a:1", is_pushed=True)
