"""Which releases an audit compares, and which jobs it consists of."""

from typing import Any

import pytest

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.model import Capability, Description, Preprocessing
from archetype.contract.request import Audit
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.errors import InvalidRequest, UnknownTarget
from shared.lifecycle.audit_jobs import (
    MAX_CONTROL_PROBES,
    build_members,
    check_plan,
    explain_difference,
    is_black_box,
)


def release(number: str, **changes: Any) -> Release:
    fields = {"name": "fruit", "release": number, "architecture": "timm:resnet18", "classes": ["apple", "lemon"]}
    return Release.model_validate(fields | changes)


FIRST, SECOND, THIRD = (release(number) for number in "123")
CATALOGUE = Catalogue([FIRST, SECOND, THIRD])


def plan(**changes: Any) -> AuditPlan:
    return AuditPlan.model_validate({"name": "nightly"} | changes)


def audit(**changes: Any) -> Audit:
    return Audit(model="fruit@3", plan=plan(**changes), baselines=["fruit@2"], tags=["audit"], priority="bulk")


def probes(count: int) -> list[dict[str, Any]]:
    return [{"id": f"{number:064x}", "target": "lemon"} for number in range(count)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"classes": ["apple", "lemon", "pear"]}, "other classes: 2 and 3"),
        ({"classes": ["lemon", "apple"]}, "in another order"),
        ({"preprocessing": Preprocessing(size=(64, 96))}, "96 x 64 pixels"),
        ({"preprocessing": Preprocessing(mean=[0.5], std=[0.5])}, "channels"),
        ({"preprocessing": Preprocessing(mean=[0.1, 0.2, 0.3])}, "preprocessing differs"),
    ],
)
def test_releases_with_other_inputs_or_outputs_cannot_be_compared(changes: dict[str, Any], why: str | None) -> None:
    difference = explain_difference(FIRST, release("2", **changes))
    assert difference is None if why is None else why in (difference or "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"classes": ["pear"]}, "/plan/classes/0"),
        ({"probes": [{"id": "a" * 64, "target": "pear"}]}, "/plan/probes/0/target"),
        (
            {"waivers": [{"gate": "focus", "target": 2, "owner": "me", "reason": "known", "expires": "2030-01-01"}]},
            "/plan/waivers/0/target",
        ),
    ],
)
def test_a_plan_with_a_class_that_the_subject_does_not_have_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UnknownTarget) as error:
        check_plan(plan(**changes), THIRD)
    assert error.value.errors[0].field == field


@pytest.mark.parametrize("saliency", [{"outputs": ["overlay"]}, {"outputs": ["raw"], "metrics": ["deletion"]}])
def test_a_plan_with_other_saliency_outputs_is_refused(saliency: dict[str, Any]) -> None:
    check_plan(plan(), THIRD)
    with pytest.raises(InvalidRequest, match="raw maps without measures"):
        check_plan(plan(saliency=saliency), THIRD)


def test_an_audit_without_probes_consists_of_class_models_of_both_releases() -> None:
    members = build_members(audit(subject_seeds=[7, 8], judges=["other@1"]), THIRD, [SECOND])
    assert list(members) == ["subject/class_models", "fruit@2/class_models", "fruit@2/noise"]
    subject, baseline, noise = (member.model_dump() for member in members.values())
    assert [member["model"] for member in (subject, baseline, noise)] == ["fruit@3", "fruit@2", "fruit@2"]
    assert [member["params"]["seeds"] for member in (subject, baseline, noise)] == [
        [7, 8],
        [1, 2, 3],
        [101, 102, 103],
    ]
    assert subject["params"]["judges"] == baseline["params"]["judges"] == ["other@1"]
    assert noise["params"]["judges"] == []
    assert {(member["priority"], *member["tags"]) for member in (subject, baseline, noise)} == {("bulk", "audit")}


def test_the_jobs_of_a_release_do_not_depend_on_the_release_that_it_is_compared_with() -> None:
    first = build_members(audit(probes=probes(2)), THIRD, [SECOND])
    second = build_members(audit(probes=probes(2)), SECOND, [FIRST])
    for part in ("class_models", "probes"):
        assert first[f"fruit@2/{part}"] == second[f"subject/{part}"]


def test_without_parameters_of_maps_jobs_compute_predictions_and_the_audit_the_maps() -> None:
    members = build_members(audit(probes=probes(3)), THIRD, [SECOND])
    assert list(members)[-2:] == ["subject/probes", "fruit@2/probes"]
    assert {members[role].params.kind for role in list(members)[-2:]} == {"gradient"}


def test_an_audit_with_parameters_of_maps_maps_all_releases_and_some_for_randomized_weights() -> None:
    saliency = {"kind": "smoothgrad", "outputs": ["raw"]}
    members = build_members(audit(probes=probes(5 * MAX_CONTROL_PROBES), saliency=saliency), THIRD, [SECOND])
    assert list(members)[-3:] == ["subject/probes", "fruit@2/probes", "subject/shuffled"]
    subject, baseline, control = list(members.values())[-3:]
    assert [member.model for member in (subject, baseline, control)] == ["fruit@3", "fruit@2", "fruit@3"]
    assert len(subject.images) == len(baseline.images) == 5 * MAX_CONTROL_PROBES
    assert control.images == subject.images[::5]
    assert (subject.params.metrics, control.params.metrics) == ([], ["randomization"])
    assert {job.params.kind for job in (subject, baseline, control)} == {"smoothgrad"}


def roles(black_boxes: set[str], **changes: Any) -> dict[str, str]:
    """The method and the kind of every job of an audit with two baselines, by role."""
    members = build_members(audit(**changes), THIRD, [SECOND, FIRST], black_boxes)
    return {role: getattr(request.params, "kind", request.method) for role, request in members.items()}


def test_class_models_are_drawn_only_of_releases_with_gradients_that_are_compared() -> None:
    everything = {
        "subject/class_models",
        "fruit@2/class_models",
        "fruit@2/noise",
        "fruit@1/class_models",
        "fruit@1/noise",
    }
    assert set(roles(set())) == everything
    assert set(roles({"fruit@1"})) == {"subject/class_models", "fruit@2/class_models", "fruit@2/noise"}
    assert roles({"fruit@3"}) == {}
    assert roles({"fruit@1", "fruit@2"}) == {}


def test_a_black_box_classifies_the_probes_without_a_gradient() -> None:
    kinds = roles({"fruit@3"}, probes=probes(2))
    assert kinds == {"subject/probes": "occlusion", "fruit@2/probes": "gradient", "fruit@1/probes": "gradient"}


def test_a_plan_keeps_its_kind_of_maps_but_no_weights_of_a_black_box_are_shuffled() -> None:
    kinds = roles({"fruit@3", "fruit@2"}, probes=probes(2), saliency={"kind": "rise", "outputs": ["raw"]})
    assert kinds == {f"{role}/probes": "rise" for role in ("subject", "fruit@2", "fruit@1")}


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (None, False),
        ([Capability(method="class_model", available=True)], False),
        ([Capability(method="class_model", available=False, reason="no gradient")], True),
    ],
)
def test_a_network_is_a_black_box_if_its_trial_drew_no_class_model(
    capabilities: list[Capability] | None, expected: bool
) -> None:
    described = Description(sha256="0" * 64, parameters=1, layers=[], capabilities=capabilities)
    assert is_black_box(described) is expected
    assert not is_black_box(None)
