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
from datetime import UTC, datetime
from pathlib import Path

from archetype.version import VERSION
from deploy.command import run_command
from deploy.image_documents import Build, Document, Source, add_debian_packages, make_provenance

ROOT = Path(__file__).parents[1]
NAMES = ("api", "worker", "store")
SBOM, PACKAGES = "/usr/share/doc/archetype/sbom.cdx.json", "/var/lib/dpkg/status"
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
        url=_without_login(url.strip()) if re.match(r"(https?|ssh|git)://", url) else None,
        changed=bool(_query(*git, "status", "--porcelain").strip()),
    )


def _without_login(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://", url)


def pull_image(image: str) -> None:
    """Pulls an image unless it is here. A builder may keep images to itself, and then their digest is not known."""
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0
    if not here:
        _show(TRANSFER_SECONDS, "docker", "pull", image)


def build_image(build: Build, source: Source) -> None:
    """Builds and tags an image, and shows the output of Docker. Raises `RuntimeError` if the build fails."""
    labels = {"version": VERSION, "revision": f"{source.commit}{'-changed' if source.changed else ''}"}
    if source.url:
        labels["source"] = source.url
    _show(
        BUILD_SECONDS, "docker", "build", "--network", "host", "--file", build.dockerfile, "--tag", build.tag,
        *(word for name, text in labels.items() for word in ("--label", f"org.opencontainers.image.{name}={text}")),
        *(word for name, text in build.arguments.items() for word in ("--build-arg", f"{name}={text}")),
        ".",
    )  # fmt: skip


def find_digest(image: str) -> str:
    """Returns the SHA-256 digest of an image: of its manifest if a registry has it, otherwise of its configuration."""
    (facts,) = json.loads(_query("docker", "image", "inspect", image))
    repository = image.rpartition(":")[0]
    pushed = [name for name in facts["RepoDigests"] or () if name.startswith(f"{repository}@")]
    return str((*pushed, facts["Id"])[0]).rpartition("sha256:")[2]


def list_bases(build: Build) -> list[str]:
    """Returns the names of the images that a Dockerfile builds on."""
    text = (ROOT / build.dockerfile).read_text()
    return sorted(set(re.findall(r"^FROM (\S+:\S+)", text, re.MULTILINE)))


def list_materials(image: str) -> Document:
    """Returns the bill of materials of an image."""
    python, debian = (_query("docker", "run", "--rm", "--entrypoint", "cat", image, path) for path in (SBOM, PACKAGES))
    return add_debian_packages(json.loads(python), debian)


def make_image(build: Build, source: Source, folder: Path, *, is_pushed: bool) -> None:
    """Builds an image, pushes it if asked to, and writes its documents."""
    started = datetime.now(UTC)
    for base in list_bases(build):
        pull_image(base)
    build_image(build, source)
    ended = datetime.now(UTC)
    if is_pushed:
        _show(TRANSFER_SECONDS, "docker", "push", build.tag)
    digests = {name: find_digest(name) for name in (build.tag, *list_bases(build))}
    provenance = make_provenance(build, source, digests, started, ended)
    for name, document in (("sbom", list_materials(build.tag)), ("provenance", provenance)):
        (folder / f"{build.name}.{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{build.tag}  sha256:{digests[build.tag]}", flush=True)


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
