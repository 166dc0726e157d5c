"""Accepted requests are stored so that earlier versions can read them, and those of newer versions are recognized."""

from typing import Any

import pytest

from archetype.contract.parameters.presets.class_model import PRESETS
from archetype.contract.request import METHODS, STORED, Audit
from shared.errors import InvalidRequest, UnsupportedFormat
from shared.validation.stored_request import dump_stored, parse_stored

IMAGE = "a" * 64
BODIES: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["lemon"]},
    "saliency": {"images": [IMAGE]},
    "localization": {"images": [IMAGE]},
    "patches": {"images": [IMAGE]},
    "fool": {"images": [IMAGE], "targets": [1]},
    "deep_dream": {
        "images": [IMAGE],
        "params": {"objective": {"kind": "channel", "layer": "features.0", "channel": 1}},
    },
    "feature_inversion": {"images": [IMAGE], "params": {"layers": ["features.0"]}},
    "activations": {"images": [IMAGE], "params": {"layers": ["features.0"]}},
    "trigger": {},
    "filters": {},
}
AUDIT = Audit.model_validate(
    {"model": "shapes@1", "baselines": [], "plan": {"name": "nightly", "probes": [{"id": IMAGE, "target": 0}]}}
)


def accept(method: str, **changes: Any) -> Any:
    return STORED.validate_python({"method": method, "model": "shapes@1", **BODIES[method], **changes})


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_request_is_the_accepted_one_without_its_defaults(method: str) -> None:
    request = accept(method)
    stored = dump_stored(request)
    assert parse_stored(stored) == request
    unset = {name for name, field in type(request.params).model_fields.items() if not field.is_required()}
    from_preset = (
        request.params.PRESETS.get("default", {}).keys() | {"preset"} | BODIES[method].get("params", {}).keys()
    )
    assert set(stored.get("params", {})) <= from_preset
    assert unset - from_preset, "every method has a parameter with a default"
    assert stored["priority"] == "interactive"


def test_the_stored_request_of_an_audit_is_the_accepted_one() -> None:
    stored = dump_stored(AUDIT)
    assert parse_stored(stored) == AUDIT
    assert (stored["method"], "gates" in stored["plan"]) == ("audit", False)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_values_of_a_preset_are_stored_because_a_newer_version_may_change_them(preset: str) -> None:
    request = accept("class_model", params={"preset": preset})
    stored = dump_stored(request)
    assert stored["params"].keys() >= PRESETS[preset].keys() - {"description"}
    assert parse_stored(stored) == request


def test_a_value_that_is_the_default_but_not_that_of_the_preset_is_stored() -> None:
    fields = type(accept("class_model").params).model_fields
    for preset, values in PRESETS.items():
        for name in values:
            default = fields[name].get_default(call_default_factory=True)
            changed = {"preset": preset, name: default}
            try:
                request = accept("class_model", params=changed)
            except ValueError:
                continue  # it does not fit the rest of the preset
            assert parse_stored(dump_stored(request)) == request, changed


@pytest.mark.parametrize(
    "newer",
    [
        {"params": {"unheard_of": 1}},
        {"unheard_of": None},
        {"method": "unheard_of"},
        {"params": {"preset": "unheard_of"}},
        {"params": {"objective": [{"kind": "unheard_of"}]}},
        {"params": {"regularizers": [{"kind": "unheard_of"}]}},
    ],
    ids=str,
)
def test_what_this_version_does_not_know_is_of_a_newer_version(newer: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFormat, match="a newer version accepted this request"):
        parse_stored({"method": "class_model", "model": "shapes@1", "targets": ["lemon"], **newer})


@pytest.mark.parametrize("damaged", [{"targets": []}, {"params": {"steps": -1}}, {"model": ""}, {"params": []}])
def test_a_damaged_request_is_invalid(damaged: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse_stored({"method": "class_model", "model": "shapes@1", "targets": ["lemon"], **damaged})
