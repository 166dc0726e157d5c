"""Audits of networks without gradients: they compare what can be compared, and say what they did not evaluate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archetype.client import Client
from archetype.contract.audit import NewAudit
from archetype.contract.registration import NewRelease
from archetype.contract.report.document import Report
from archetype.errors import InvalidRequest
from tests.support.networks import Small, seeded
from tests.support.onnx_models import add_unknown, export
from worker.engine.render import encode_png

CLASSES = ["one", "two", "three"]
WITHOUT_MODELS = ("recognition", "appearance")


def register(client: Client, name: str, release: str, path: Path) -> None:
    fields = {"architecture": "onnx", "classes": CLASSES, "preprocessing": {"size": [16, 16]}}
    new = NewRelease.model_validate({"name": name, "release": release, "upload": client.upload_weights(path)} | fields)
    client.register(new, seconds=120)


def make_network(seed: int) -> nn.Module:
    network = seeded(Small, classes=3)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.1 * seed * torch.randn_like(weights)
    return network.eval()


@pytest.fixture(scope="module")
def releases(operator: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three releases: a black box, another one with other weights, and the first network with gradients."""
    folder, images = tmp_path_factory.mktemp("onnx"), torch.zeros(2, 3, 16, 16)
    for release, seed in (("first", 0), ("second", 1)):
        box = add_unknown(export(make_network(seed), folder / f"{release}.onnx", images))
        register(operator, "box", release, box)
    register(operator, "box", "open", export(make_network(0), folder / "open.onnx", images))
    return "box"


@pytest.fixture(scope="module")
def plan(operator: Client) -> dict[str, Any]:
    draw = np.random.default_rng(1)
    images = [draw.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(9)]
    ids = [operator.upload(encode_png(image)).id for image in images]
    probes = [{"id": each, "target": place % 3} for place, each in enumerate(ids)]
    return {"name": "boxes", "probes": probes, "class_models": {"steps": 2, "extras": False}}


def audit(client: Client, plan: dict[str, Any], subject: str, baseline: str) -> tuple[Report, set[str]]:
    new = NewAudit.model_validate({"model": subject, "plan": plan, "baselines": [baseline]})
    *_, ended = client.watch_audit(client.audit(new).id, timeout=400)
    assert ended.error is None
    artifact = next(artifact for artifact in ended.artifacts if artifact.name == "report.json")
    return Report.model_validate_json(client.fetch(artifact)), {member.role for member in ended.members}


@pytest.mark.parametrize(("subject", "baseline", "probes"), [("second", "first", 9), ("open", "second", 5)])
def test_what_needs_no_gradient_is_compared(
    operator: Client, releases: str, plan: dict[str, Any], subject: str, baseline: str, probes: int
) -> None:
    """With five probes, no kind of map is chosen, and no trigger is searched."""
    plan = plan | {"probes": plan["probes"][:probes]}
    report, roles = audit(operator, plan, f"{releases}@{subject}", f"{releases}@{baseline}")
    assert roles == {"subject/probes", f"{releases}@{baseline}/probes"}
    assert report.verdict in ("pass", "warn", "fail")
    (comparison,) = report.comparisons
    assert not comparison.identical
    boxes = [each for each in (subject, baseline) if each != "open"]
    for gate in WITHOUT_MODELS:
        assert all(f"{releases}@{each}" in comparison.abstentions[gate] for each in boxes)
        assert f"{releases}@open" not in comparison.abstentions[gate]
    untested = " ".join(report.conclusion.untested)
    assert ("masks and additive patterns are not searched" in untested) == (probes >= 8)
    assert all(
        f"Gate {gate}. Not evaluated: class visualizations need gradients" in untested for gate in WITHOUT_MODELS
    )
    assert not any("class visualization" in text for text in report.conclusion.basis)
    evaluated = {gate.gate for gate in report.gates if gate.result in ("passed", "warned", "failed")}
    assert {"accuracy", "confidence", "robustness"} <= evaluated


def test_an_audit_in_which_nothing_can_be_compared_is_refused(
    operator: Client, releases: str, plan: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="class visualizations need gradients") as error:
        audit(operator, plan | {"probes": []}, f"{releases}@second", f"{releases}@first")
    assert error.value.problem is not None
    assert error.value.problem.errors[0].field == "/plan/probes"


def test_the_same_file_is_identical(operator: Client, releases: str, plan: dict[str, Any], tmp_path: Path) -> None:
    path = add_unknown(export(make_network(0), tmp_path / "first.onnx", torch.zeros(2, 3, 16, 16)))
    register(operator, releases, "again", path)
    register(operator, releases, "once-more", path)
    report, roles = audit(operator, plan, f"{releases}@once-more", f"{releases}@again")
    assert (report.verdict, roles) == ("pass", set())
