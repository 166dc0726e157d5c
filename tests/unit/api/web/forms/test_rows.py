"""Rows of inputs instead of JSON: which parameters have them, and what a row holds."""

import pytest

from api.web.forms.form import Field, make_form

CLASS_MODEL = {field.name: field for form in [make_form("class_model")] for field in [*form.first, *form.rest]}


def rows_of(field: Field) -> dict[str, object]:
    assert field.kind == "json"
    assert field.rows is not None
    return field.rows


def test_a_list_of_objects_has_the_fields_of_each_kind() -> None:
    rows = rows_of(CLASS_MODEL["transforms"])
    assert rows["most"] == 16
    variants = rows["item"]["variants"]  # type: ignore[index]
    assert {"jitter", "rotate", "window"} <= set(variants)
    (pixels,) = variants["jitter"]["fields"]
    assert (pixels["name"], pixels["kind"], pixels["required"]) == ("pixels", "number", True)
    assert [field["kind"] for field in variants["rotate"]["fields"]] == ["numbers"]
    assert variants["window"]["fields"][0]["default"] == [0.4, 2.0]


def test_one_object_has_at_most_one_row() -> None:
    rows = rows_of(CLASS_MODEL["schedule"])
    assert (rows["single"], rows["most"]) == (True, 1)


@pytest.mark.parametrize(("name", "kind"), [("seeds", "number"), ("judges", "text")])
def test_a_list_of_values_has_a_row_for_each(name: str, kind: str) -> None:
    assert rows_of(CLASS_MODEL[name])["item"] == {"kind": kind}


def test_a_choice_of_several_values_has_check_boxes() -> None:
    fields = {field.name: field for form in [make_form("saliency")] for field in [*form.first, *form.rest]}
    assert rows_of(fields["outputs"]) == {"choices": ["heat_map", "overlay", "figure", "raw"]}


def test_values_of_several_types_are_entered_as_json() -> None:
    fields = {field.name: field for form in [make_form("activations")] for field in [*form.first, *form.rest]}
    assert (fields["channels"].kind, fields["channels"].rows) == ("json", None)
    assert CLASS_MODEL["steps"].rows is None
