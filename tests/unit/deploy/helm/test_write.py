"""The Helm chart is the manifests of the overlays, with values."""

from typing import Any

import pytest

from deploy.helm.write import CHART, make_files
from tools.checks.manifests import (
    CHARTS,
    KUBERNETES,
    NO_HELM,
    NO_KUSTOMIZE,
    USERS_OF_URLS,
    Object,
    find_blocked_ports,
    find_helm,
    find_kustomize,
    render,
    render_chart,
)

with_helm = pytest.mark.skipif(find_helm() is None, reason=NO_HELM)
with_kustomize = pytest.mark.skipif(find_kustomize() is None, reason=NO_KUSTOMIZE)


@with_kustomize
def test_the_committed_chart_is_the_one_that_the_manifests_give() -> None:
    for name, text in make_files().items():
        assert (CHART / name).read_text() == text, f"{name}: run make chart"


@with_helm
@with_kustomize
@pytest.mark.parametrize(("overlay", "values"), [("cpu", "chart"), ("gpu", "chart for a GPU on AWS")])
def test_the_chart_installs_what_an_overlay_installs(overlay: str, values: str) -> None:
    assert by_name(render_chart(*CHARTS[values])) == by_name(render(KUBERNETES / "overlays" / overlay))


def by_name(rendered: list[Object]) -> dict[tuple[str, str], Any]:
    """Objects without what only one of the two tools writes: empty values, the namespace, digests of the settings."""
    objects = [_normalize(item) for item in rendered if item["kind"] != "Namespace"]
    for item in objects:
        item["metadata"].pop("namespace", None)
        if item["metadata"]["name"] in WHOLE_NAMESPACE:
            item["spec"].pop("podSelector")
        if item["kind"] == "Deployment":
            item["spec"]["template"]["metadata"].pop("annotations", None)
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


OPTIONAL = {"nodeSelector", "tolerations", "imagePullSecrets", "annotations"}
"""Fields that the chart writes, empty or not."""

WHOLE_NAMESPACE = {"nothing", "names"}
"""Policies of the overlays for all pods of their namespace. Those of the chart select its own pods."""


def _normalize(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _normalize(entry) for key, entry in value.items()}
        return {key: entry for key, entry in kept.items() if entry or key not in OPTIONAL}
    if isinstance(value, list):
        return [_normalize(entry) for entry in value]
    return "archetype-settings" if str(value).startswith("archetype-settings-") else value


@with_helm
@pytest.mark.parametrize("names", CHARTS.values(), ids=CHARTS)
def test_no_field_is_null(names: tuple[str, ...]) -> None:
    """Helm sends a null in each upgrade, and the cluster then sets its default: one worker, for example."""

    def find_nulls(value: Any, path: str) -> list[str]:
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return (
            [path]
            if value is None
            else [found for key, entry in entries for found in find_nulls(entry, f"{path}/{key}")]
        )

    assert [found for item in render_chart(*names) for found in find_nulls(item, item["metadata"]["name"])] == []


@with_helm
def test_a_policy_of_the_chart_selects_pods_of_the_chart() -> None:
    rendered = render_chart()
    pods = {
        item["spec"]["template"]["metadata"]["labels"]["app"] for item in rendered if "template" in item.get("spec", {})
    }
    for policy in (item for item in rendered if item["kind"] == "NetworkPolicy"):
        if policy["metadata"]["name"] in WHOLE_NAMESPACE:
            (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
            assert set(expression["values"]) == pods
        else:
            assert policy["spec"]["podSelector"]


@with_helm
@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({}, [443, 6379, 6380]),
        ({"otlp_endpoint": "http://collector:4318"}, [443, 6379, 6380, 4318]),
        ({"mlflow_url": "https://mlflow.example.org"}, [443, 6379, 6380]),
    ],
)
def test_pods_may_connect_to_these_ports(settings: Object, ports: list[int]) -> None:
    (policy,) = [item for item in render_chart(values={"settings": settings}) if item["metadata"]["name"] == "outside"]
    assert [entry["port"] for entry in policy["spec"]["egress"][0]["ports"]] == ports


@with_helm
@pytest.mark.parametrize("name", [name for name, users in USERS_OF_URLS.items() if users and name != "redis_url"])
@pytest.mark.parametrize("url", ["collector.example.org", "grpc://collector:4317", "//collector"])
def test_a_url_without_a_known_scheme_is_refused(name: str, url: str) -> None:
    """Its port would be empty, and Kubernetes takes an empty port for all ports."""
    with pytest.raises(ValueError, match=f"settings.{name} is .* it must begin with http:// or https://"):
        render_chart(values={"settings": {name: url}})


@with_helm
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"setings": {}}, "setings is not allowed"),
        ({"settings": {"checkpoint_secnds": 3}}, "checkpoint_secnds is not allowed"),
        ({"settings": {"trusted_proxies": "one"}}, "settings.trusted_proxies: Invalid type"),
        ({"settings": {"decoders": 0}}, "settings.decoders: Must be greater than or equal to 1"),
        ({"settings": {"tenant_limits": {"running_job": 1}}}, "running_job is not allowed"),
        ({"settings": {"operator_token": "x"}}, "operator_token is not allowed"),
        ({"settings": {"redis_url": "redis://redis"}}, "redis_url is not allowed"),
        ({"settings": {"s3_access_key": "x"}}, "s3_access_key is not allowed"),
        ({"settings": {"liveness_dir": "/tmp"}}, "liveness_dir is not allowed"),
        ({"settings": {"tenant_shares": {"a b": 2}}}, "a b is not allowed"),
        ({"api": None}, "api is required"),
        ({"network": {"ports": None}}, "ports is required"),
        ({"network": {"ports": []}}, "network.ports: Array must have at least 1 items"),
        ({"secrets": {"api": None}}, "api is required"),
        ({"api": {"minReplicas": 1}}, "api.minReplicas: Must be greater than or equal to 2"),
        ({"images": {"pullSecrets": ["mine"]}}, "images.pullSecrets.0: Invalid type"),
        ({"worker": {"nodeSelector": {"gpu": True}}}, "worker.nodeSelector.gpu: Invalid type"),
        ({"worker": {"replicas": 0}}, "worker.replicas: Must be greater than or equal to 1"),
        ({"network": {"ports": [70000]}}, "network.ports.0: Must be less than or equal to 65535"),
    ],
)
def test_wrong_values_are_refused_with_their_name(values: Object, message: str) -> None:
    with pytest.raises(ValueError, match="values don't meet the specifications") as refused:
        render_chart(values=values)
    assert message in str(refused.value)


@with_helm
@pytest.mark.parametrize(
    ("given", "printed"),
    [
        (20_000_000_000, "20000000000"),
        (["exports/", "a b/"], '["exports/","a b/"]'),
        ({"team": 2}, '{"team":2}'),
        (True, "true"),
        ('a "quoted" word: #1', 'a "quoted" word: #1'),
    ],
)
def test_settings_become_environment_variables(given: Any, printed: str) -> None:
    name = {
        int: "cache_bytes",
        list: "weight_prefixes",
        dict: "tenant_shares",
        bool: "exported_programs",
        str: "s3_bucket",
    }
    key = name[type(given)]
    (settings,) = [item for item in render_chart(values={"settings": {key: given}}) if item["kind"] == "ConfigMap"]
    assert settings["data"][f"ARCHETYPE_{key.upper()}"] == printed


@with_helm
@pytest.mark.parametrize("name", [name for name, users in USERS_OF_URLS.items() if users and name != "redis_url"])
@pytest.mark.parametrize("host", ["server.example.org:9443", "[fd00::7]:9443", "server.example.org", "10.0.0.7"])
def test_the_ports_of_urls_are_opened(name: str, host: str) -> None:
    assert list(find_blocked_ports(render_chart("gpu", values={"settings": {name: f"http://{host}/a"}}))) == []


@with_helm
def test_the_values_of_each_part_reach_its_pods() -> None:
    part = {
        "nodeSelector": {"pool": "a"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "resources": {"requests": {"cpu": "3"}},
    }
    values = {
        **{key: {**part, "scratch": "3Gi"} for key in ("api", "scheduler", "webhookSender")},
        "worker": {**part, "scratch": "3Gi", "cache": "90Gi"},
        "backing": {"storageClass": "fast", "redis": {**part, "storage": "7Gi"}, "store": {**part, "storage": "7Gi"}},
        "secrets": dict.fromkeys(("api", "scheduler", "webhookSender", "worker", "redis", "store"), "mine"),
        "images": {"registry": "registry.example.org/vision/", "tag": "1.2", "pullSecrets": [{"name": "pull"}]},
    }
    rendered = render_chart(values=values)
    workloads = [item for item in rendered if item["kind"] in ("Deployment", "StatefulSet")]
    assert len(workloads) == 6
    for workload in workloads:
        spec = workload["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert list(spec["volumes"][0]["secret"].values()) == ["mine"]
        assert spec["nodeSelector"] == {"pool": "a"}
        assert spec["tolerations"] == part["tolerations"]
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert container["resources"]["requests"]["cpu"] == "3"
        if workload["kind"] == "Deployment":
            assert {"name": "scratch", "emptyDir": {"sizeLimit": "3Gi"}} in spec["volumes"]
        if container["name"] == "worker":
            assert {"name": "cache", "emptyDir": {"sizeLimit": "90Gi"}} in spec["volumes"]
        if container["name"] != "redis":
            assert container["image"].startswith("registry.example.org/vision/archetype-"), container["image"]
            assert container["image"].endswith(":1.2")
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            assert claim["spec"]["storageClassName"] == "fast"
            assert claim["spec"]["resources"]["requests"]["storage"] == "7Gi"


@with_helm
def test_pods_restart_if_a_setting_changes() -> None:
    def sums(**settings: str) -> list[str]:
        pods = [item for item in render_chart(values={"settings": settings}) if item["kind"] == "Deployment"]
        return [pod["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for pod in pods]

    assert set(sums()).isdisjoint(sums(s3_bucket="other"))
    assert sums() == sums()


@with_helm
@pytest.mark.parametrize("enabled", [True, False])
def test_the_number_of_workers_is_that_of_the_values_unless_they_are_scaled(enabled: bool) -> None:
    rendered = render_chart(values={"worker": {"replicas": 7, "scaling": {"enabled": enabled}}})
    (worker,) = [item for item in rendered if item["kind"] == "Deployment" and item["metadata"]["name"] == "worker"]
    assert worker["spec"].get("replicas") == (None if enabled else 7)
    assert [item["kind"] for item in rendered].count("ScaledObject") == enabled


@with_helm
def test_a_chart_that_contains_this_one_can_switch_it_off() -> None:
    assert render_chart(values={"enabled": True, "global": {"a": 1}})


@with_helm
def test_more_replicas_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(ValueError, match=r"api.minReplicas is larger than api.maxReplicas"):
        render_chart(values={"api": {"minReplicas": 5, "maxReplicas": 2}})
