"""Checks of the rendered Kubernetes manifests."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from archetype.version import VERSION
from shared.settings import Settings
from tools.checks.manifests import (
    NO_KUSTOMIZE,
    OVERLAYS,
    USERS_OF_URLS,
    VERSIONS,
    Object,
    find_blocked_ports,
    find_faults,
    find_kustomize,
    render,
)

pytestmark = pytest.mark.skipif(find_kustomize() is None, reason=NO_KUSTOMIZE)
RENDERED = {overlay.name: render(overlay) if find_kustomize() else [] for overlay in OVERLAYS}
WORKLOADS = ("Deployment", "StatefulSet")


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [item for item in RENDERED[overlay] if item["kind"] in kinds]


def find(overlay: str, kind: str, name: str) -> Object:
    return next(item for item in of_kind(overlay, kind) if item["metadata"]["name"] == name)


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    for workload in of_kind(overlay, *WORKLOADS):
        yield workload["metadata"]["name"], workload["spec"]["template"]


def containers(overlay: str) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(overlay):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield f"{name}/{container['name']}", container


each_overlay = pytest.mark.parametrize("overlay", RENDERED)


@each_overlay
def test_every_manifest_is_valid_for_the_kubernetes_api(overlay: str) -> None:
    for version in VERSIONS:
        assert list(find_faults(RENDERED[overlay], version)) == []


def test_the_check_of_manifests_finds_an_unknown_field() -> None:
    invalid = deepcopy(RENDERED["cpu"])
    invalid[0]["metadata"]["lables"] = {}
    assert "lables" in "".join(find_faults(invalid, VERSIONS[-1]))


@each_overlay
def test_no_pod_runs_as_root_or_has_capabilities_or_a_token(overlay: str) -> None:
    for name, pod in pods(overlay):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
    for name, container in containers(overlay):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not of_kind(overlay, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@each_overlay
def test_every_container_has_limits_and_a_liveness_probe(overlay: str) -> None:
    for name, container in containers(overlay):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name
        is_init = name == "api/bucket"
        assert ("livenessProbe" in container) is not is_init, name
    for name, pod in pods(overlay):
        assert pod["spec"]["terminationGracePeriodSeconds"] >= 30, name


@each_overlay
def test_the_grace_period_of_a_worker_covers_a_checkpoint(overlay: str) -> None:
    grace = find(overlay, "Deployment", "worker")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > Settings().checkpoint_seconds


@each_overlay
def test_liveness_probes_check_the_file_of_their_process(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    folder = settings["data"]["ARCHETYPE_LIVENESS_DIR"]
    for name in ("worker", "webhook-sender", "scheduler"):
        (container,) = find(overlay, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert f"{folder}/{name} " in container["livenessProbe"]["exec"]["command"][-1], name


@each_overlay
def test_every_setting_of_the_config_map_exists(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    names = {name.removeprefix("ARCHETYPE_").lower() for name in settings["data"]}
    assert names <= Settings.model_fields.keys()


@each_overlay
def test_containers_get_settings_and_secrets_by_reference(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    for name, pod in pods(overlay):
        (secrets,) = (volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume)
        assert secrets == {"secretName": f"archetype-{name}"}  # of its own: `deploy.setup secrets` writes its folder
        assert not [
            source
            for container in pod["spec"]["containers"]
            for source in container.get("envFrom", [])
            if "secretRef" in source
        ]
    for name, container in containers(overlay):
        assert "env" not in container, name
        if container["image"].startswith(("archetype-api", "archetype-worker")):
            assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}], name
    assert not of_kind(overlay, "Secret")


@each_overlay
def test_every_selector_matches_a_pod(overlay: str) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(overlay)]

    def selects(selector: dict[str, Any]) -> bool:
        return any(selector.items() <= pod_labels.items() for pod_labels in labels)

    for service in of_kind(overlay, "Service"):
        assert selects(service["spec"]["selector"]), service["metadata"]["name"]
    for item in of_kind(overlay, "PodDisruptionBudget", *WORKLOADS):
        assert selects(item["spec"]["selector"]["matchLabels"]), item["metadata"]["name"]
    workloads = {workload["metadata"]["name"] for workload in of_kind(overlay, *WORKLOADS)}
    for scaler in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in workloads
    budgets = {budget["metadata"]["name"] for budget in of_kind(overlay, "PodDisruptionBudget")}
    assert {"api", "worker"} <= budgets


@each_overlay
def test_the_network_is_closed_by_default(overlay: str) -> None:
    default = find(overlay, "NetworkPolicy", "nothing")["spec"]
    assert default == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policies = of_kind(overlay, "NetworkPolicy")
    reachable = {policy["metadata"]["name"] for policy in policies if "ingress" in policy["spec"]}
    assert reachable == ({"callers", "redis", "store"} if overlay == "cpu" else {"callers"})


@each_overlay
def test_redis_and_store_accept_connections_and_the_service_may_connect(overlay: str) -> None:
    """Both directions need a policy, because some networks never match a pod by its address."""
    for name in ("redis", "store") if overlay == "cpu" else ():
        (port,) = find(overlay, "Service", name)["spec"]["ports"]
        (ingress,) = find(overlay, "NetworkPolicy", name)["spec"]["ingress"]
        (egress,) = find(overlay, "NetworkPolicy", f"to-{name}")["spec"]["egress"]
        assert {rule["port"] for rule in (*ingress["ports"], *egress["ports"])} == {port["port"]}
        assert egress["to"] == [{"podSelector": {"matchLabels": {"app": name}}}]


@each_overlay
def test_policies_allow_the_ports_that_the_settings_of_an_overlay_name(overlay: str) -> None:
    assert list(find_blocked_ports(RENDERED[overlay])) == []


@pytest.mark.parametrize(
    ("name", "url", "blocked"),
    [
        ("otlp_endpoint", "http://collector:4318", ["api", "worker"]),
        ("mlflow_url", "http://mlflow.tools:5000/", ["scheduler"]),
        ("oidc_issuer", "https://id.example.org:8443/realms/a", ["api"]),
        ("oidc_issuer", "https://id.example.org/realms/a", []),
        ("s3_endpoint", "https://[fd00::7]:9443", ["api", "scheduler", "webhook-sender", "worker"]),
        ("redis_url", "rediss://redis.example.org:6380/0", []),
        ("s3_public_endpoint", "https://files.example.org:9999", []),
    ],
)
def test_the_check_of_manifests_finds_a_port_that_no_policy_allows(name: str, url: str, blocked: list[str]) -> None:
    changed = deepcopy(RENDERED["gpu"])
    (settings,) = [item for item in changed if item["kind"] == "ConfigMap"]
    settings["data"][f"ARCHETYPE_{name.upper()}"] = url
    found = list(find_blocked_ports(changed))
    assert [app for app in USERS_OF_URLS[name] if any(f"lets {app} connect" in fault for fault in found)] == blocked
    assert len(found) == len(blocked)


def test_the_check_of_ports_knows_every_setting_that_is_an_address() -> None:
    addresses = {name for name in Settings.model_fields if name.endswith(("_url", "_endpoint", "_issuer", "_jwks"))}
    assert set(USERS_OF_URLS) == addresses


@each_overlay
def test_every_image_has_the_version_of_the_project(overlay: str) -> None:
    for name, container in containers(overlay):
        if container["image"].startswith("archetype-"):
            assert container["image"].partition(":")[2] in (VERSION, f"{VERSION}-cuda"), name


def test_a_worker_of_the_gpu_overlay_has_one_gpu_and_is_scaled_automatically() -> None:
    worker = find("gpu", "Deployment", "worker")
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "replicas" not in worker["spec"]
    scaled = find("gpu", "ScaledObject", "worker")["spec"]
    assert scaled["minReplicaCount"] >= 1
    assert scaled["fallback"]["replicas"] >= 1
