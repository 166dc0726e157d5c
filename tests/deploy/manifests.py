"""Holds every manifest, as rendered, against the schemas of Kubernetes' API: `python -m tests.deploy.manifests`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

Object = dict[str, Any]
OVERLAYS = sorted((Path(__file__).parents[2] / "deploy" / "kubernetes" / "overlays").iterdir())
VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest that is meant to work, and the newest that is known."""

OTHERS = {"keda.sh/v1alpha1"}
"""What Kubernetes' own schemas do not have."""

OLDEST_KUBECTL = 27
NO_KUSTOMIZE = "there is no kustomize here, and no kubectl of 1.27 or newer"


def find_kustomize() -> list[str] | None:
    """What renders a folder that is its argument."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"v1\.(\d+)", told)
        if version and int(version.group(1)) >= OLDEST_KUBECTL:
            return ["kubectl", "kustomize"]
    return None


def render(folder: Path) -> list[Object]:
    """Every object of a folder with a kustomization.yaml."""
    command = find_kustomize()
    if command is None:
        raise RuntimeError(NO_KUSTOMIZE)
    printed = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=True).stdout
    return list(yaml.safe_load_all(printed))


def find_faults(rendered: list[Object], version: str) -> Iterator[str]:
    """What the API would refuse."""
    for one in rendered:
        if one["apiVersion"] not in OTHERS:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{one['kind']} {one['metadata']['name']}, {version}: {error.message}"


def main() -> int:
    if find_kustomize() is None:
        print(f"manifests: skipped, {NO_KUSTOMIZE}")
        return 0
    faults = [
        f"{overlay.name}: {fault}"
        for overlay in OVERLAYS
        for version in VERSIONS
        for fault in find_faults(render(overlay), version)
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"manifests of {', '.join(one.name for one in OVERLAYS)}: valid in {' and '.join(VERSIONS)}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
