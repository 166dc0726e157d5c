"""Renamed parameters are accepted under their old names, with a warning."""

import hashlib
import subprocess
import sys
import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from archetype.contract.audit import NewAudit
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.fool import FoolParameters
from archetype.contract.parameters.localization import LocalizationParameters
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.parameters.types import Parameters, dump_with_old_names
from archetype.contract.pydantic_errors import parse_request
from archetype.contract.request import METHODS, STORED
from archetype.contract.schedule import NewSchedule
from tests.support.paths import ROOT

VALUES: dict[str, Any] = {
    "regularizers": [{"kind": "l1", "weight": 0.5, "per_pixel": False}],
    "check_every": 7,
    "constraint": {"kind": "l2", "radius": 0.25},
    "gradient": "guided",
    "metrics": ["deletion"],
}
"""A value of each renamed parameter that is no default."""

OTHERS: dict[str, dict[str, Any]] = {"gradient": {"kind": "smoothgrad"}}
"""Parameters that must be set for the value to be allowed."""


def list_subclasses(kind: type[Parameters]) -> list[type[Parameters]]:
    return [each for direct in kind.__subclasses__() for each in (direct, *list_subclasses(direct))]


def method_of(kind: type[Parameters]) -> str:
    (name,) = (name for name, method in METHODS.items() if method.model_fields["params"].annotation is kind)
    return name


RENAMED = [(kind, old, new) for kind in list_subclasses(Parameters) for old, new in kind.RENAMED.items()]
PLANNED = [("class_models", "priors"), ("class_models", "look_every"), ("saliency", "slope")]


def request(kind: type[Parameters], params: dict[str, Any]) -> dict[str, Any]:
    method = method_of(kind)
    inputs: dict[str, Any] = {} if method == "class_model" else {"images": ["a" * 64]}
    return {"method": method, "model": "shapes@1", "targets": [1], **inputs, "params": params}


def test_all_old_names_are_accepted() -> None:
    assert {(kind, old, new) for kind, old, new in RENAMED} == {
        (ClassModelParameters, "priors", "regularizers"),
        (ClassModelParameters, "look_every", "check_every"),
        (FoolParameters, "bound", "constraint"),
        (FoolParameters, "look_every", "check_every"),
        (SaliencyParameters, "slope", "gradient"),
        (SaliencyParameters, "measures", "metrics"),
        (LocalizationParameters, "slope", "gradient"),
        (LocalizationParameters, "measures", "metrics"),
    }


@pytest.mark.parametrize(("kind", "old", "new"), RENAMED)
@pytest.mark.parametrize("parse", [parse_request, STORED.validate_python])
def test_a_job_request_with_an_old_name_is_read_with_a_warning(
    parse: Any, kind: type[Parameters], old: str, new: str
) -> None:
    others = OTHERS.get(new, {})
    with pytest.warns(FutureWarning, match=f"'{old}' is now called '{new}'; version 0.4"):
        params = parse(request(kind, {old: VALUES[new], **others})).params
    assert params == parse(request(kind, {new: VALUES[new], **others})).params
    assert params.model_dump(mode="json")[new] == VALUES[new]
    assert old not in params.model_dump()


@pytest.mark.parametrize(("kind", "old", "new"), [renamed for renamed in RENAMED if renamed[0].PRESETS])
@pytest.mark.parametrize("preset", ["timm_vis", "default"])
def test_an_old_name_takes_precedence_over_the_preset(preset: str, kind: type[Parameters], old: str, new: str) -> None:
    with pytest.warns(FutureWarning):
        params = parse_request(request(kind, {old: VALUES[new], "preset": preset})).params
    assert params.model_dump(mode="json")[new] == VALUES[new]


@pytest.mark.parametrize(("kind", "old", "new"), RENAMED)
def test_a_parameter_with_both_names_is_refused(kind: type[Parameters], old: str, new: str) -> None:
    fields = {**OTHERS.get(new, {}), old: VALUES[new], new: VALUES[new]}
    with pytest.raises(ValidationError, match=f"{old} is the old name of {new}; give only {new}"):
        STORED.validate_python(request(kind, fields))


@pytest.mark.parametrize(("part", "old"), PLANNED)
def test_an_audit_plan_with_an_old_name_is_read_with_a_warning(part: str, old: str) -> None:
    new = {**ClassModelParameters.RENAMED, **SaliencyParameters.RENAMED}[old]
    params = {old: VALUES[new], **OTHERS.get(new, {})} | ({"outputs": ["raw"]} if part == "saliency" else {})
    plan = {"name": "nightly", part: params}
    documents: list[tuple[Any, dict[str, Any]]] = [
        (AuditPlan, plan),
        (NewAudit, {"model": "shapes", "plan": plan}),
        (NewSchedule, {"model": "shapes", "plan": plan}),
        (STORED, {"method": "audit", "model": "shapes@1", "baselines": [], "plan": plan}),
    ]
    for kind, document in documents:
        with pytest.warns(FutureWarning, match=f"'{old}' is now called '{new}'"):
            parsed = (kind.validate_python if kind is STORED else kind.model_validate)(document)
        planned = getattr(getattr(parsed, "plan", parsed), part)
        assert planned.model_dump(mode="json")[new] == VALUES[new]


def test_a_document_that_is_written_and_read_again_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in METHODS.values():
            assert kind.model_fields["params"].annotation.model_validate(
                kind.model_fields["params"].default.model_dump(mode="json")
            )
        assert AuditPlan.model_validate_json(AuditPlan(name="nightly").model_dump_json()) == AuditPlan(name="nightly")


def test_json_schemas_contain_new_names_only() -> None:
    for kind, old, new in RENAMED:
        properties = kind.model_json_schema()["properties"]
        assert new in properties
        assert old not in properties


def test_an_operator_sees_the_warning_on_standard_error_once() -> None:
    script = (
        "from archetype.contract.pydantic_errors import parse_request\n"
        "body = {'method': 'class_model', 'model': 'shapes', 'targets': [1], 'params': {'look_every': 5}}\n"
        "for _ in range(3): parse_request(body)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": "sdk"}
    )
    assert done.stderr.count("FutureWarning: parameter 'look_every' is now called 'check_every'") == 1


def test_the_digest_of_a_request_is_that_of_releases_before_the_renames() -> None:
    params = {"constraint": {"kind": "linf", "radius": 0.1}, "check_every": 3}
    parsed = parse_request(request(FoolParameters, params))
    digest = hashlib.sha256(dump_with_old_names(parsed)).hexdigest()
    assert digest == "bd72ffe2cc6b24267b39800d60c1d57dfe299b6ea6311deb2e00de2f1c947e36"


def test_the_version_of_an_audit_plan_does_not_depend_on_renamed_parameters() -> None:
    assert AuditPlan(name="p").version == "8c27bf8b665f"
    regularizers = [{"kind": "l2", "weight": 1e-7}]
    plan = {
        "name": "nightly",
        "class_models": {
            "preset": "keras_vis",
            "regularizers": regularizers,
            "check_every": 7,
            "extras": False,
        },
        "saliency": {"kind": "smoothgrad", "gradient": "guided", "metrics": ["deletion"], "outputs": ["raw"]},
        "gates": {"accuracy": {"tolerance": 2}},
        "waivers": [{"gate": "focus", "owner": "ä", "reason": "x", "expires": "2026-12-01"}],
    }
    assert AuditPlan.model_validate(plan).version == "5e436e6f9366"
