"""Validates the rendered manifests against the schemas of the Kubernetes API: `python -m tools.checks.manifests`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import yaml

Object = dict[str, Any]
KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = sorted((KUBERNETES / "overlays").iterdir())
CHART = KUBERNETES.parent / "helm" / "chart"
CHARTS = {
    "chart": (),
    "chart for a GPU on AWS": ("gpu", "aws"),
    "chart for a GPU on GCS": ("gpu", "gcs"),
    "chart for a GPU on Ceph": ("gpu", "ceph"),
}
"""Files of values, for each way to install the Helm chart."""

VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest supported version of Kubernetes, and the newest with a schema."""

CUSTOM_APIS = {"keda.sh/v1alpha1"}
"""API versions of custom resources, for which there is no schema."""

SERVICE = ("api", "scheduler", "webhook-sender", "worker")

USERS_OF_URLS: dict[str, tuple[str, ...]] = {
    "redis_url": SERVICE,
    "s3_endpoint": SERVICE,
    "s3_public_endpoint": (),  # in URLs for clients; the service does not connect to it
    "public_url": (),  # in messages for people
    "oidc_issuer": ("api",),
    "oidc_jwks": ("api",),
    "mlflow_url": ("scheduler",),
    "otlp_endpoint": ("api", "worker"),
}
"""The pods that connect to the address that a setting names."""

DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}

OLDEST_KUBECTL = 27
NO_KUSTOMIZE = "neither kustomize nor kubectl 1.27 or newer is installed"
NO_HELM = "helm is not installed; its wheel exists for x86-64 only"


def find_kustomize() -> list[str] | None:
    """Returns the command that renders a folder, without the folder; None if no tool is installed."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        output = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"v1\.(\d+)", output)
        if version and int(version.group(1)) >= OLDEST_KUBECTL:
            return ["kubectl", "kustomize"]
    return None


def render(folder: Path) -> list[Object]:
    """Returns the objects of a folder with a kustomization.yaml."""
    command = find_kustomize()
    if command is None:
        raise RuntimeError(NO_KUSTOMIZE)
    printed = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=True).stdout
    return list(yaml.safe_load_all(printed))


def find_helm() -> str | None:
    """Returns the path of helm, on the PATH or in this environment; None if it is not installed."""
    return shutil.which("helm") or shutil.which("helm", path=str(Path(sys.executable).parent))


def render_chart(*names: str, values: Object | None = None) -> list[Object]:
    """Returns the objects of the Helm chart with the named files of values, then with `values`.

    Raises `ValueError` with the message of Helm if it refuses the values, `RuntimeError` if Helm is not installed.
    """
    helm = find_helm()
    if helm is None:
        raise RuntimeError(NO_HELM)
    files = [CHART.parent / "values" / f"{name}.yaml" for name in names]
    options = [word for file in files for word in ("--values", str(file))]
    command = [helm, "template", "archetype", str(CHART), "--namespace", "archetype", *options, "--values", "-"]
    given = yaml.safe_dump(values or {})
    result = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        raise ValueError(result.stderr)
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def find_faults(rendered: list[Object], version: str) -> Iterator[str]:
    """Yields what the Kubernetes API of a version would reject."""
    for item in rendered:
        if item["apiVersion"] not in CUSTOM_APIS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{item['kind']} {item['metadata']['name']}, {version}: {error.message}"


def find_blocked_ports(rendered: list[Object]) -> Iterator[str]:
    """Yields the settings that name a port to which no network policy lets the pods connect that use it."""
    for settings in (item["data"] for item in rendered if item["kind"] == "ConfigMap"):
        for name, apps in USERS_OF_URLS.items():
            url = settings.get(f"ARCHETYPE_{name.upper()}")
            port = _port_of(url) if url else None
            for app in apps if port is not None else ():
                if port not in _list_egress_ports(rendered, app):
                    yield (
                        f"ARCHETYPE_{name.upper()} is {url}, but no network policy lets {app} connect to port {port}; "
                        "add the port to the policy `outside`, as overlays/gpu/kustomization.yaml shows"
                    )


def _port_of(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS.get(parts.scheme)


def _list_egress_ports(rendered: list[Object], app: str) -> set[int]:
    """Returns the TCP ports to which the pods with a label `app` may connect."""
    rules = [
        rule
        for item in rendered
        if item["kind"] == "NetworkPolicy" and _selects(item["spec"]["podSelector"], app)
        for rule in item["spec"].get("egress", [])
    ]
    return {entry["port"] for rule in rules for entry in rule.get("ports", []) if entry["protocol"] == "TCP"}


def _selects(selector: Object, app: str) -> bool:
    labels = selector.get("matchLabels", {}).get("app", app)
    expressions = selector.get("matchExpressions", [])
    return labels == app and all(app in expression["values"] for expression in expressions)


def render_all() -> dict[str, list[Object]]:
    """Returns the objects of each overlay and each way to install the chart, as far as the tools are installed."""
    overlays = {f"overlay {folder.name}": render(folder) for folder in OVERLAYS} if find_kustomize() else {}
    charts = {name: render_chart(*values) for name, values in CHARTS.items()} if find_helm() else {}
    return overlays | charts


def main() -> int:
    """Prints the faults of all overlays and of the chart; returns 1 if there are any."""
    for tool, missing in ((find_kustomize(), NO_KUSTOMIZE), (find_helm(), NO_HELM)):
        if tool is None:
            print(f"manifests: in part skipped, {missing}")
    rendered = render_all()
    faults = [
        f"{name}: {fault}"
        for name, objects in rendered.items()
        for fault in (
            *(fault for version in VERSIONS for fault in find_faults(objects, version)),
            *find_blocked_ports(objects),
        )
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    if rendered and not faults:
        print(f"manifests ({', '.join(rendered)}): valid in {' and '.join(VERSIONS)}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
