"""Invalid requests are refused with the field, the given value and the allowed values."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from archetype.contract.api_key import NewKey
from archetype.contract.audit import NewAudit
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.parameters.components import COMPONENTS
from archetype.contract.problem import InvalidDocument, ProblemDocument
from archetype.contract.pydantic_errors import describe_errors, parse_request
from archetype.contract.registration import NewRelease
from archetype.contract.report.decision import NewDecision
from archetype.contract.request import METHODS
from archetype.contract.schedule import NewSchedule

GOOD: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"]}


def dump(error: InvalidDocument) -> str:
    """The problem document of the error as JSON; fails if JSON cannot carry it."""
    problem = ProblemDocument(type="/problems/x", title="x", status=422, detail=error.detail, errors=[*error.errors])
    return problem.model_dump_json()


@pytest.mark.parametrize(
    ("change", "field", "given", "allowed"),
    [
        ({"method": "dream"}, "/method", "dream", list(METHODS)),
        ({"params": {"steps": 10**9}}, "/params/steps", 10**9, {"le": 10000}),
        ({"params": {"steps": 0}}, "/params/steps", 0, {"ge": 1}),
        ({"params": {"learning_rate": -1}}, "/params/learning_rate", -1, {"gt": 0.0}),
        ({"params": {"learning_rate": float("nan")}}, "/params/learning_rate", None, None),
        (
            {"params": {"start": "random"}},
            "/params/start",
            "random",
            {"expected": "'zero', 'mean', 'noise', 'uniform' or 'picture'"},
        ),
        ({"params": {"canvas": [7, 80]}}, "/params/canvas/0", 7, {"ge": 8}),
        ({"params": {"transforms": [{"kind": "window", "scale": [2, 1]}]}}, "/params/transforms/0", None, None),
        ({"params": {"transforms": [{"kind": "warp"}]}}, "/params/transforms/0/kind", "warp", None),
        ({"params": {"transforms": [{"kind": "window"}, {"kind": "crop"}]}}, "/params", None, None),
        ({"params": {"preset": "lucent"}}, "/params/preset", "lucent", None),
        ({"params": {"preset": "maco", "regularizers": [{"kind": "l2", "weight": 1}]}}, "/params", None, None),
        ({"params": {"preset": "maco", "octaves": 2}}, "/params", None, None),
        (
            {"params": {"regularizers": [{"kind": "l2", "weight": -1}]}},
            "/params/regularizers/0/weight",
            -1,
            {"ge": 0.0},
        ),
        ({"params": {"eight_bits": True}}, "/params", None, None),
        ({"params": {"start": "picture"}}, "/params", None, None),
        ({"params": {"steps": 1000, "stills_every": 2}}, "/params", None, None),
        ({"targets": []}, "/targets", [], None),
        ({"targets": "lemon"}, "/targets", "lemon", None),
        ({"targets": [-1]}, "/targets/0", -1, None),
        ({"targets": [True]}, "/targets/0", True, None),
        ({"priority": "now"}, "/priority", "now", None),
        ({"tags": ["a b"]}, "/tags/0", "a b", None),
        ({"images": []}, "/images", [], None),
    ],
)
def test_an_invalid_field_is_named_with_the_given_and_the_allowed_values(
    change: dict[str, Any], field: str, given: Any, allowed: Any
) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_request(GOOD | change)
    (error,) = refused.value.errors
    assert error.field == field
    assert field in refused.value.detail
    if given is not None:
        assert error.given == given
    if allowed is not None:
        assert error.allowed == allowed


def test_an_unknown_parameter_of_a_component_is_refused_with_the_names_of_the_component() -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_request(GOOD | {"params": {"transforms": [{"kind": "window", "rotatoin": 3}]}})
    (error,) = refused.value.errors
    assert (error.field, error.allowed) == (
        "/params/transforms/0/rotatoin",
        ["kind", "scale", "resolution", "rotation"],
    )
    assert "did you mean rotation" in error.detail


def test_an_unknown_parameter_is_refused_with_the_most_similar_name() -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_request(GOOD | {"params": {"learnin_rate": 1}})
    (error,) = refused.value.errors
    assert error.field == "/params/learnin_rate"
    assert "did you mean learning_rate" in error.detail
    assert "steps" in error.allowed


@pytest.mark.parametrize(
    "change",
    [{"model": "\ud800"}, {"targets": ["\udfff"]}, {"\ud800": 1}, {"params": {"\ud800": {"\ud801": []}}}],
    ids=ascii,
)
def test_invalid_unicode_is_refused_with_a_problem_in_valid_unicode(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_request(GOOD | change)
    assert "ud8" in (text := dump(refused.value)) or "udf" in text


@pytest.mark.parametrize("body", [None, 3, "x", [], [GOOD]])
def test_a_body_that_is_not_an_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidDocument):
        parse_request(body)


def test_a_long_given_value_is_shortened() -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_request(GOOD | {"model": "x" * 100_000})
    assert len(dump(refused.value)) < 2000


DOCUMENTS: dict[type[BaseModel], dict[str, Any]] = {
    NewAudit: {"model": "a", "plan": {"name": "x"}},
    AuditPlan: {"name": "x"},
    NewSchedule: {"name": "x"},
    NewRelease: {"name": "x"},
    NewKey: {"name": "x"},
    NewDecision: {"decision": "approve"},
}
"""Bodies of requests that are no jobs."""


@pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model in DOCUMENTS for name in (*METHODS, "stepps") if name not in model.model_fields],
)
def test_an_unknown_field_is_named_whatever_it_is_called(model: type[BaseModel], name: str) -> None:
    """Pydantic calls the branches of the union of all requests by the names of the methods."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate({**DOCUMENTS[model], name: 1})
    described = describe_errors(refused.value, model)
    (error,) = [each for each in described.errors if each.field == f"/{name}"]
    assert error.detail.startswith("there is no such parameter")
    assert set(error.allowed) == set(model.model_fields)


@pytest.mark.parametrize(
    ("plan", "field", "meant"),
    [
        ({"seds": [1, 2]}, "/seds", "seeds"),
        ({"gates": {"acuracy": {"tolerance": 0.1}}}, "/gates/acuracy", "accuracy"),
        ({"gates": {"accuracy": {"tolerence": 0.1}}}, "/gates/accuracy/tolerence", "tolerance"),
        ({"class_model": {}}, "/class_model", "class_models"),
        ({"class_models": {"stepps": 3}}, "/class_models/stepps", "steps"),
        ({"probes": [{"id": "ab" * 32, "target": 1, "nme": "x"}]}, "/probes/0/nme", "name"),
    ],
)
def test_a_misspelled_field_of_a_plan_has_a_suggestion(plan: dict[str, Any], field: str, meant: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AuditPlan.model_validate({"name": "x", **plan})
    described = describe_errors(refused.value, AuditPlan)
    (error,) = described.errors
    assert error.field == field
    assert f"did you mean {meant}" in error.detail
    assert "?, " not in described.detail
    assert meant in error.allowed


@pytest.mark.parametrize("name", [*COMPONENTS, "ImageInput", "box", "channel"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ({"probes": [{"id": "ab" * 32, "target": 1}]}, "boxes"),
        ({"waivers": [{"gate": "focus", "owner": "a", "reason": "b", "expires": "2030-01-01"}]}, "expires"),
    ],
)
def test_an_unknown_field_of_an_item_is_named_whatever_it_is_called(
    path: dict[str, list[dict[str, Any]]], fields: str, name: str
) -> None:
    ((place, (item,)),) = path.items()
    with pytest.raises(ValidationError) as refused:
        AuditPlan.model_validate({"name": "x", place: [{**item, name: 1}]})
    (error,) = describe_errors(refused.value, AuditPlan).errors
    assert error.field == f"/{place}/0/{name}"
    assert fields in error.allowed


def test_a_component_of_a_plan_is_described_as_in_a_request() -> None:
    transforms = [{"kind": "window", "scael": [0.5, 1]}]
    with pytest.raises(ValidationError) as refused:
        AuditPlan.model_validate({"name": "x", "class_models": {"transforms": transforms}})
    (error,) = describe_errors(refused.value, AuditPlan).errors
    assert error.field == "/class_models/transforms/0/scael"
    assert "did you mean scale" in error.detail
