"""What matters of the manifests, as they are rendered."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from shared.settings import Settings
from shared.version import VERSION
from tests.deploy.manifests import (
    NO_KUSTOMIZE,
    OVERLAYS,
    VERSIONS,
    Object,
    find_faults,
    find_kustomize,
    render,
)

pytestmark = pytest.mark.skipif(find_kustomize() is None, reason=NO_KUSTOMIZE)
RENDERED = {overlay.name: render(overlay) if find_kustomize() else [] for overlay in OVERLAYS}
WORKLOADS = ("Deployment", "StatefulSet")


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [one for one in RENDERED[overlay] if one["kind"] in kinds]


def find(overlay: str, kind: str, name: str) -> Object:
    return next(one for one in of_kind(overlay, kind) if one["metadata"]["name"] == name)


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    for one in of_kind(overlay, *WORKLOADS):
        yield one["metadata"]["name"], one["spec"]["template"]


def containers(overlay: str) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(overlay):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield f"{name}/{container['name']}", container


each_overlay = pytest.mark.parametrize("overlay", RENDERED)


@each_overlay
def test_the_api_of_kubernetes_would_take_it(overlay: str) -> None:
    for version in VERSIONS:
        assert list(find_faults(RENDERED[overlay], version)) == []


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    spoiled = deepcopy(RENDERED["cpu"])
    spoiled[0]["metadata"]["lables"] = {}
    assert "lables" in "".join(find_faults(spoiled, VERSIONS[-1]))


@each_overlay
def test_nothing_runs_as_root_with_capabilities_or_a_token(overlay: str) -> None:
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
def test_everything_has_limits_and_a_way_to_see_that_it_lives(overlay: str) -> None:
    for name, container in containers(overlay):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name
        is_init = name == "api/bucket"
        assert ("livenessProbe" in container) is not is_init, name
    for name, pod in pods(overlay):
        assert pod["spec"]["terminationGracePeriodSeconds"] >= 30, name


@each_overlay
def test_a_worker_has_time_to_put_away_what_it_is_at(overlay: str) -> None:
    grace = find(overlay, "Deployment", "worker")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > Settings().checkpoint_seconds


@each_overlay
def test_who_lives_is_who_touches_the_file_that_is_looked_at(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    life = settings["data"]["ARCHETYPE_LIFE"]
    for name in ("worker", "courier", "scheduler"):
        (container,) = find(overlay, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert f"{life}/{name} " in container["livenessProbe"]["exec"]["command"][-1], name


@each_overlay
def test_every_setting_is_one(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    names = {name.removeprefix("ARCHETYPE_").lower() for name in settings["data"]}
    assert names <= Settings.model_fields.keys()


@each_overlay
def test_settings_and_secrets_are_by_reference(overlay: str) -> None:
    (settings,) = of_kind(overlay, "ConfigMap")
    for name, pod in pods(overlay):
        (secrets,) = (volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume)
        assert secrets["secretName"] == "archetype-secrets", name
        seen = {item["key"] for item in secrets.get("items", [])}
        assert name in ("api", "scheduler") or (seen and "archetype_operator_token" not in seen), name
    for name, container in containers(overlay):
        assert "env" not in container, name
        if container["image"].startswith(("archetype-api", "archetype-worker")):
            assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}], name
    assert not of_kind(overlay, "Secret")


@each_overlay
def test_what_is_selected_is_there(overlay: str) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(overlay)]

    def selects(selector: dict[str, Any]) -> bool:
        return any(selector.items() <= one.items() for one in labels)

    for one in of_kind(overlay, "Service"):
        assert selects(one["spec"]["selector"]), one["metadata"]["name"]
    for one in of_kind(overlay, "PodDisruptionBudget", *WORKLOADS):
        assert selects(one["spec"]["selector"]["matchLabels"]), one["metadata"]["name"]
    named = {one["metadata"]["name"] for one in of_kind(overlay, *WORKLOADS)}
    for one in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
        assert one["spec"]["scaleTargetRef"]["name"] in named
    budgets = {one["metadata"]["name"] for one in of_kind(overlay, "PodDisruptionBudget")}
    assert {"api", "worker"} <= budgets


@each_overlay
def test_the_network_is_closed_but_for_what_is_said(overlay: str) -> None:
    closed = find(overlay, "NetworkPolicy", "nothing")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reached = {one["metadata"]["name"] for one in of_kind(overlay, "NetworkPolicy") if "ingress" in one["spec"]}
    assert reached == ({"callers", "redis", "store"} if overlay == "cpu" else {"callers"})


@each_overlay
def test_what_is_in_the_cluster_lets_itself_be_reached_and_may_be(overlay: str) -> None:
    """From both sides: some networks never match a pod by its address."""
    for name in ("redis", "store") if overlay == "cpu" else ():
        (port,) = find(overlay, "Service", name)["spec"]["ports"]
        (reached,) = find(overlay, "NetworkPolicy", name)["spec"]["ingress"]
        (reaches,) = find(overlay, "NetworkPolicy", f"to-{name}")["spec"]["egress"]
        assert {one["port"] for one in (*reached["ports"], *reaches["ports"])} == {port["port"]}
        assert reaches["to"] == [{"podSelector": {"matchLabels": {"app": name}}}]


@each_overlay
def test_images_are_of_this_version(overlay: str) -> None:
    for name, container in containers(overlay):
        if container["image"].startswith("archetype-"):
            assert container["image"].partition(":")[2] in (VERSION, f"{VERSION}-cuda"), name


def test_a_worker_of_the_gpu_overlay_has_one_gpu_and_as_many_colleagues_as_there_is_work_for() -> None:
    worker = find("gpu", "Deployment", "worker")
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "replicas" not in worker["spec"]
    scaled = find("gpu", "ScaledObject", "worker")["spec"]
    assert scaled["minReplicaCount"] >= 1
    assert scaled["fallback"]["replicas"] >= 1
