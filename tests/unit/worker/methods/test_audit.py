"""An audit of the demo's releases without a service around it: what the report contains."""

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Artifact, Job, State, now
from archetype.contract.model import Preprocessing
from archetype.contract.report.document import Report
from archetype.contract.request import Audit
from deploy.audit_demo import FIRST, RELEASES
from shared.catalogue.release import Release
from shared.storage.documents import Manifest
from tests.support.generators import finish
from tests.support.run_method import Save
from worker.audit import shortcut
from worker.audit.maps import probe_maps
from worker.audit.maps.faithfulness import list_kinds
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.render import encode_png
from worker.inputs.predictions import predict
from worker.inputs.preprocess import Levels
from worker.job.context import Evaluator, ImageAccess, JobContext
from worker.job.member_results import MemberResults
from worker.methods.audit import run
from worker.output.artifacts import AttemptOutput
from worker.shapes.drawing import CLASSES, draw_numbered
from worker.shapes.network import ShapesNetwork

NUMBERS = [label + len(CLASSES) * series for series in range(6) for label in range(4)]
DRAWINGS = {f"{number:064x}": draw_numbered(number, 77) for number in NUMBERS}
IMAGES: Mapping[str, Levels] = {name: np.asarray(drawing.image) for name, drawing in DRAWINGS.items()}
SHOWN = CLASSES[:2]
SHAPE = Preprocessing(size=(80, 80), mean=[0.5] * 3, std=[0.25] * 3)


def make_release(version: str) -> Release:
    return Release(
        name="drawings", release=version, architecture="builtin:shapes", classes=list(CLASSES), preprocessing=SHAPE
    )


@pytest.fixture
def networks() -> Iterator[dict[str, Evaluator]]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (80, 80), "device": torch.device("cpu")}
    files: dict[str, Path] = {"v1": FIRST, "v2": RELEASES / "v2.safetensors"}
    with ExitStack() as opened:
        networks = {}
        for version, file in files.items():
            network = ShapesNetwork()
            network.load_state_dict({name: value.float() for name, value in load_file(file).items()})
            classifier = opened.enter_context(open_classifier(network, **options))
            networks[version] = Evaluator(make_release(version), classifier)
        yield networks


def make_plan(**more: Any) -> AuditPlan:
    probes = [
        {
            "id": name,
            "target": drawing.label,
            "boxes": [dict(zip(("left", "top", "right", "bottom"), drawing.box, strict=True))],
            "attributes": {"number": "even" if int(name, 16) % 2 else "odd"},
        }
        for name, drawing in DRAWINGS.items()
    ]
    fields = {"name": "demo", "classes": list(SHOWN), "probes": probes, "slices": ["number"]}
    gates = {"trigger": {"tolerance": 1.6, "severity": "off"}} | more.pop("gates", {})  # a search takes a minute
    return AuditPlan.model_validate(fields | more | {"gates": gates})


class Results:
    """Manifests and files of member jobs: drawings stand for class models."""

    def __init__(self, plan: AuditPlan, sides: Mapping[str, Evaluator]) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.files: dict[str, bytes] = {}
        for role, side in sides.items():
            self.add_class_models(f"{role}/class_models", side, [0, 1])
            self.add_probes(f"{role}/probes", plan, side)
        self.add_class_models(f"{sides['drawings@v1'].release.reference}/noise", sides["drawings@v1"], [2, 3])

    def add_class_models(self, role: str, side: Evaluator, series: list[int]) -> None:
        targets, artifacts = [], []
        for name in SHOWN:
            index = CLASSES.index(name)
            images = [np.asarray(draw_numbered(index + 12 * seed, 99).image) for seed in series]
            tries = [
                {"seed": seed + 1, "steps": 8, **prediction}
                for seed, prediction in zip(series, predict_all(side, images, index), strict=True)
            ]
            target = {"index": index, "name": name}
            targets.append({"target": target, "tries": tries})
            for seed, image in zip(series, images, strict=True):
                file = f"{role}-{name}-{seed}.png"
                self.files[file] = encode_png(image)
                artifacts.append({"name": file, "media_type": "image/png", "target": target})
        self.add(role, side, artifacts, {"targets": targets})

    def add_probes(self, role: str, plan: AuditPlan, side: Evaluator) -> None:
        pairs = []
        for probe in plan.probes:
            index = int(probe.target)
            (prediction,) = predict_all(side, [IMAGES[probe.id]], index)
            pairs.append({"image": probe.id, "target": {"index": index, "name": CLASSES[index]}, **prediction})
        self.add(role, side, [], {"pairs": pairs})

    def add(self, role: str, side: Evaluator, artifacts: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
        described = [Artifact(bytes=1, sha256="0" * 64, href="", **artifact) for artifact in artifacts]
        job = Job(
            id=role, method="x", model=side.release.reference, state=State.SUCCEEDED, created_at=now(),
            artifacts=described, metrics=metrics, provenance={"model": {"sha256": "1" * 64}},
        )  # fmt: skip
        self.manifests[role] = Manifest(job=job, fence=1, keys={each.name: each.name for each in described})

    def open(self) -> MemberResults:
        return MemberResults({role: role for role in self.manifests}, self.manifests.get, self.files.__getitem__)


def predict_all(side: Evaluator, images: list[Levels], index: int) -> list[dict[str, Any]]:
    return predict(side.classifier, side.release, images, [index] * len(images))


def audit(plan: AuditPlan, subject: Evaluator, baseline: Evaluator, results: MemberResults) -> Report:
    reference = baseline.release.reference
    request = Audit(
        model=subject.release.reference, plan=plan, baselines=[reference], members=dict(results.members),
        reused=[role for role in results.members if role.startswith(reference)],
    )  # fmt: skip
    output = AttemptOutput()
    save = Save({}, output, "1")
    classifier: Classifier = subject.classifier
    context = JobContext(
        request=request, release=subject.release, targets=None, classifier=classifier, fast_classifier=classifier,
        batch=8, save=save, load_original=lambda: classifier.network, evaluators=(baseline,), output=output,
        images=ImageAccess(load=IMAGES.__getitem__), member_results=results,
    )  # fmt: skip
    metrics = finish(run(context))
    report = Report.model_validate_json(save.store["1/report.json"])
    assert metrics["verdict"] == report.verdict
    assert b"<html" in save.store["1/report.html"]
    assert save.store["1/report.pdf"].startswith(b"%PDF-")
    return report


@pytest.fixture(autouse=True)
def few_marks_and_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate `shortcut` and the kinds of maps are tested elsewhere, and take most of the time."""
    monkeypatch.setattr(shortcut, "LEVELS", (0, 255))
    monkeypatch.setattr(probe_maps, "list_kinds", lambda size: list_kinds(size)[2:3])


def test_the_report_of_a_retrained_release_has_every_part(networks: dict[str, Evaluator]) -> None:
    plan = make_plan()
    results = Results(plan, {"subject": networks["v2"], "drawings@v1": networks["v1"]})
    report = audit(plan, networks["v2"], networks["v1"], results.open())
    (comparison,) = report.comparisons
    assert report.errors == []
    assert not [finding for finding in report.findings if finding.severity == "fail"]
    assert report.maps is not None
    assert report.maps.faithful
    assert report.maps.correlation.value > max(report.maps.random, report.maps.edges)
    assert "focus" in report.figures
    first = next(row for row in comparison.classes if row["target"] == SHOWN[0])
    assert 0 < first["subject_seen_by_drawings@v1"] <= 1
    assert 0 < first["baseline_seen_by_drawings@v2"] <= 1
    assert {row.value: row.probes for row in comparison.slices} == {"even": 12, "odd": 12}
    assert set(comparison.changes["slices"]) == {"number = even", "number = odd"}
    assert {gate.gate for gate in report.gates if gate.result == "abstained"} == set()
    assert "Faithfulness of the saliency maps" in report.tables[-1].title
    changed = [each for each in report.evidence if each.kind == "change"]
    assert [len(group.pictures) for each in changed for group in each.groups] == [
        len(group.images) for group in comparison.changed_groups
    ]
    assert [row.corruption for row in comparison.corruptions][:2] == ["blur", "JPEG"]
    assert len(comparison.changed_groups) <= 3
    assert [row.target for row in comparison.components] == list(CLASSES[:4])
    jobs = report.identity["jobs"]
    assert {role for role in jobs if jobs[role]["reused"]} == {
        "drawings@v1/class_models", "drawings@v1/noise", "drawings@v1/probes",
    }  # fmt: skip


def test_an_audit_without_jobs_has_the_report_of_identical_releases(networks: dict[str, Evaluator]) -> None:
    copy = Evaluator(make_release("v5"), networks["v1"].classifier)
    report = audit(make_plan(), copy, networks["v1"], MemberResults({}, lambda _: None, io.BytesIO.read))  # type: ignore[arg-type]
    assert (report.verdict, report.findings, report.errors) == ("pass", [], [])
    assert report.comparisons[0].identical
    assert len(report.not_run) == 2
    assert report.conclusion.basis[0] == (
        "Digests of drawings@v5 and drawings@v1: all weights are equal after loading."
    )
    subject, baseline = report.releases
    assert subject.weights_sha256 == baseline.weights_sha256 is not None


def test_a_gate_that_abstains_says_so_on_the_first_page(
    networks: dict[str, Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.audit.maps.faithfulness.correlate_ranks", lambda maps, *_: np.zeros(len(maps)))
    plan = make_plan(gates={"robustness": {"tolerance": 1, "severity": "off"}})
    results = Results(plan, {"subject": networks["v2"], "drawings@v1": networks["v1"]})
    report = audit(plan, networks["v2"], networks["v1"], results.open())
    assert any(text.startswith("Gate focus. Not evaluated: the saliency maps (") for text in report.conclusion.untested)
    assert "focus" not in report.figures
    assert report.comparisons[0].corruptions == []
    assert all("focus" not in row["changes"] for row in report.comparisons[0].classes)
