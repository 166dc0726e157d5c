"""Builds and tags the container images, with a bill of materials and the provenance of each: `make images`.

For each image it writes two files:

    NAME.sbom.json          what is in it: Python packages and packages of Debian (CycloneDX)
    NAME.provenance.json    what it was built from: commit, base images, arguments (in-toto statement, SLSA provenance)
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from archetype.version import VERSION
from deploy.command import run_command
from deploy.image_documents import Build, Document, Source, describe_image, make_provenance

ROOT = Path(__file__).parents[1]
NAMES = ("api", "worker", "store")
SBOM, PACKAGES, SYSTEM = "/usr/share/doc/archetype/sbom.cdx.json", "/var/lib/dpkg/status", "/etc/os-release"
BUILD_SECONDS, TRANSFER_SECONDS, QUERY_SECONDS = 3600.0, 3600.0, 120.0


def plan_builds(names: list[str], registry: str, torch_index: str | None, suffix: str) -> list[Build]:
    """Returns the builds of the named images. `torch_index` and `suffix` are for the worker."""
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    builds = []
    for name in names:
        worker = name == "worker"
        arguments = {"TORCH_INDEX": torch_index} if worker and torch_index is not None else {}
        builds.append(Build(name, f"{prefix}archetype-{name}:{VERSION}{suffix if worker else ''}", arguments))
    return builds


def read_source(folder: Path = ROOT) -> Source:
    """Returns what Git knows about a checkout. Raises `RuntimeError` if it is none."""
    git = ("git", "-C", str(folder))
    url = subprocess.run([*git, "remote", "get-url", "origin"], capture_output=True, text=True, check=False).stdout
    return Source(
        commit=_query(*git, "rev-parse", "HEAD").strip(),
        url=clean_url(url.strip()),
        changed=bool(_query(*git, "status", "--porcelain", "--untracked-files=all").strip()),
    )


def clean_url(url: str) -> str | None:
    """Returns the URL of a remote without a password; None if it is a folder.

    The short form `git@example.org:a/b.git` becomes `ssh://git@example.org/a/b.git`.
    """
    if short := re.fullmatch(r"([\w.-]+@[\w.-]+):(?!//)(.+)", url):
        return f"ssh://{short[1]}/{short[2]}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ssh", "git") or not parts.hostname:
        return None
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return parts._replace(netloc=user + parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def open_context(source: Source) -> Iterator[Path]:
    """The folder to build from: the files of the commit, or the checkout if it has changes."""
    if source.changed:
        yield ROOT
        return
    with TemporaryDirectory() as folder:
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", source.commit]
        files = subprocess.run(command, capture_output=True, timeout=QUERY_SECONDS, check=True).stdout
        with tarfile.open(fileobj=BytesIO(files)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def pull_image(image: str) -> None:
    """Pulls an image unless it is here. A builder may keep images to itself, and then their digest is not known."""
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0
    if not here:
        _show(TRANSFER_SECONDS, "docker", "pull", image)


def build_image(build: Build, source: Source) -> None:
    """Builds and tags an image, and shows the output of Docker.

    Raises:
        RuntimeError: The build fails, or its image is not where Docker pushes from.
    """
    revision = f"{source.commit}{'-changed' if source.changed else ''}"
    labels = {"version": VERSION, "revision": revision} | ({"source": source.url} if source.url else {})
    with TemporaryDirectory() as folder, open_context(source) as context:
        id_file = Path(folder, "id")
        _show(
            BUILD_SECONDS, "docker", "build", "--network", "host", "--file", str(context / build.dockerfile),
            "--tag", build.tag, "--iidfile", str(id_file),
            *(word for name, text in labels.items() for word in ("--label", f"org.opencontainers.image.{name}={text}")),
            *(word for name, text in build.arguments.items() for word in ("--build-arg", f"{name}={text}")),
            str(context),
        )  # fmt: skip
        built = id_file.read_text().strip()
    if _inspect(build.tag)["Id"].removeprefix("sha256:") != built.removeprefix("sha256:"):
        raise RuntimeError(f"the builder did not store {build.tag}; choose one that does: docker buildx use default")


def find_digest(image: str, *, is_pushed: bool) -> str:
    """Returns the SHA-256 digest of an image: the one of its registry if it comes from there, otherwise its id.

    Raises:
        RuntimeError: The image was pushed, and Docker does not know the digest that the registry gave to it.
    """
    facts = _inspect(image)
    names = {_shorten(image.rpartition(":")[0])}
    given = [name for name in facts["RepoDigests"] or () if _shorten(name.partition("@")[0]) in names]
    if is_pushed and not given:
        raise RuntimeError(f"{image} was pushed, but docker does not tell the digest that the registry gave to it")
    return str((*given, facts["Id"])[0]).rpartition("sha256:")[2]


def _inspect(image: str) -> dict[str, Any]:
    (facts,) = json.loads(_query("docker", "image", "inspect", image))
    return dict(facts)


def _shorten(repository: str) -> str:
    return repository.removeprefix("docker.io/").removeprefix("library/")


def list_bases(build: Build) -> list[str]:
    """Returns the names of the images that a Dockerfile builds on."""
    text = (ROOT / build.dockerfile).read_text()
    return sorted(set(re.findall(r"^FROM (\S+:\S+)", text, re.MULTILINE)))


def list_materials(image: str, digest: str) -> Document:
    """Returns the bill of materials of an image with this digest."""
    python, packages, system = (
        _query("docker", "run", "--rm", "--entrypoint", "cat", image, path) for path in (SBOM, PACKAGES, SYSTEM)
    )
    return describe_image(json.loads(python), packages, system, name=image, digest=digest)


def make_image(build: Build, source: Source, folder: Path, *, is_pushed: bool) -> None:
    """Builds an image, pushes it if asked to, and writes its documents."""
    started = datetime.now(UTC)
    for base in list_bases(build):
        pull_image(base)
    build_image(build, source)
    ended = datetime.now(UTC)
    if is_pushed:
        _show(TRANSFER_SECONDS, "docker", "push", build.tag)
    digest = find_digest(build.tag, is_pushed=is_pushed)
    bases = {name: find_digest(name, is_pushed=False) for name in list_bases(build)}
    provenance = make_provenance(build, source, {build.tag: digest, **bases}, started, ended)
    for name, document in (("sbom", list_materials(build.tag, digest)), ("provenance", provenance)):
        (folder / f"{build.name}.{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{build.tag}  sha256:{digest}", flush=True)


def _query(*command: str) -> str:
    """Returns the output of a command. Raises `RuntimeError` with its message if it fails."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def _show(seconds: float, *command: str) -> None:
    """Runs a command whose output the user sees. Raises `RuntimeError` if it fails."""
    if subprocess.run(command, cwd=ROOT, timeout=seconds, check=False).returncode:
        raise RuntimeError(f"{' '.join(command[:2])} failed; its output says why")


def make_images(names: list[str], options: argparse.Namespace) -> int:
    """Builds the named images. Returns 0."""
    if shutil.which("docker") is None:
        raise RuntimeError("the program docker is not installed")
    _query("docker", "version")
    source = read_source()
    if source.changed and options.push:
        raise RuntimeError("files differ from the commit: commit them before you push images")
    options.out.mkdir(parents=True, exist_ok=True)
    for build in plan_builds(names, options.registry, options.torch_index, options.worker_suffix):
        make_image(build, source, options.out, is_pushed=options.push)
    print(f"bills of materials and provenance: {options.out}")
    return 0


def main() -> int:
    """Builds what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", metavar="image", help="api, worker or store; by default all three")
    parser.add_argument("--registry", default="", help="such as registry.example.org/vision; by default none")
    parser.add_argument("--push", action="store_true", help="push the images to their registry")
    parser.add_argument("--torch-index", help="index of pip for the build of torch; for CUDA see docs/containers.md")
    parser.add_argument("--worker-suffix", default="", help="end of the tag of the worker, such as -cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "images", help="folder of the documents")
    options = parser.parse_args()
    if unknown := set(options.images) - set(NAMES):
        parser.error(f"unknown image {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return run_command(lambda: make_images(options.images or list(NAMES), options))


if __name__ == "__main__":
    sys.exit(main())
