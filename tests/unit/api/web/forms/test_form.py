"""The form of a method shows the values that a request without changes uses."""

import pytest

from api.web.forms.form import Field, Form, find_parameters, list_presets, make_form
from archetype.contract.request import METHODS
from archetype.contract.strict_json import load_json


def list_fields(form: Form) -> dict[str, Field]:
    return {field.name: field for field in [*form.first, *form.rest]}


@pytest.mark.parametrize("method", METHODS)
def test_the_texts_of_a_preset_are_the_values_that_the_preset_gives(method: str) -> None:
    params, form = find_parameters(method), make_form(method)
    for preset, texts in list_presets(params).items():
        given = {name: _read(list_fields(form)[name], text) for name, text in texts.items()}
        assert params.model_validate(given | {"preset": preset}) == params.model_validate({"preset": preset})


def _read(field: Field, text: str) -> object:
    if text == "":
        return None
    return (
        text if field.kind == "text" or (field.kind == "choice" and text not in ("true", "false")) else load_json(text)
    )


@pytest.mark.parametrize("method", METHODS)
def test_all_presets_of_a_method_set_the_same_parameters(method: str) -> None:
    """Otherwise a value of the preset before would stay in the form."""
    assert len({frozenset(texts) for texts in make_form(method).presets.values()}) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_the_form_starts_with_the_values_of_the_default_preset(method: str) -> None:
    form = make_form(method)
    fields = list_fields(form)
    assert {name: fields[name].default for name in form.presets.get("default", {})} == form.presets.get("default", {})


@pytest.mark.parametrize("method", METHODS)
def test_a_condition_names_a_choice_of_the_form(method: str) -> None:
    fields = list_fields(make_form(method))
    for field in fields.values():
        if field.condition is not None:
            name, values = field.condition
            assert set(values) <= set(fields[name].choices), field.name


def test_only_methods_that_accept_all_classes_offer_them() -> None:
    assert {method for method in METHODS if make_form(method).takes_all} == {"class_model", "saliency", "trigger"}
