"""The snippets on the page of a job repeat its request."""

import ast
import json
import shlex
from typing import Any

import pytest

from api.web.snippets import write_snippets
from archetype.contract.request import METHODS

URL = "http://service:8080"
IMAGE = "0" * 64


def test_the_python_snippet_of_a_class_visualization_uses_the_client() -> None:
    request = {"method": "class_model", "model": "shapes@1", "targets": ["lemon"], "params": {"steps": 200}}
    assert write_snippets(request, URL)["Python"] == (
        "from archetype import Client\n"
        "\n"
        'with Client("http://service:8080") as client:\n'
        "    client.class_model('shapes@1', ['lemon'], steps=200).wait().save(\"pictures\")\n"
    )


def test_the_python_snippet_of_a_method_with_images_names_images_and_targets() -> None:
    request = {"method": "saliency", "model": "shapes@1", "images": [IMAGE], "targets": ["bee"], "params": {}}
    call = f"client.saliency('shapes@1', images=['{IMAGE}'], targets=['bee'])"
    assert call in write_snippets(request, URL)["Python"]


def test_the_most_probable_classes_are_an_argument_of_their_own() -> None:
    request = {"method": "saliency", "model": "shapes@1", "images": [IMAGE], "targets": {"top": 3}}
    assert f"client.saliency('shapes@1', images=['{IMAGE}'], top=3)" in write_snippets(request, URL)["Python"]


@pytest.mark.parametrize("images", [{"prefix": "probes/"}, [{"id": IMAGE, "targets": ["bee"]}]])
def test_the_python_snippet_uses_the_request_class_for_images_with_more_than_an_id(images: Any) -> None:
    request = {"method": "saliency", "model": "shapes@1", "images": images}
    snippet = write_snippets(request, URL)["Python"]
    assert snippet.startswith("from archetype import Client, Saliency\n")
    assert f"client.start(Saliency.model_validate({request!r})).wait().save(" in snippet


def test_snippets_leave_out_parameters_with_their_default_value() -> None:
    default = METHODS["class_model"].model_fields["params"].default.model_dump(mode="json")
    request = {"method": "class_model", "model": "shapes@1", "targets": "all", "params": default | {"steps": 7}}
    snippets = write_snippets(request, URL)
    assert "client.class_model('shapes@1', 'all', steps=7)" in snippets["Python"]
    assert json.loads(shlex.split(snippets["curl"])[-1])["params"] == {"steps": 7}
    assert snippets["Command line"].endswith("--targets all -p steps=7 --wait")


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_has_the_name_of_a_field_of_the_request(method: str) -> None:
    """Keyword arguments of the client are fields and parameters alike."""
    fields: dict[str, Any] = METHODS[method].model_fields
    assert fields.keys() & type(fields["params"].default).model_fields.keys() == set()


def test_the_python_snippet_is_valid_python_for_any_class_name() -> None:
    name = "a \"quoted\" and 'strange' \\ name"
    request = {"method": "class_model", "model": "shapes@1", "targets": [name]}
    (call,) = (
        node
        for node in ast.walk(ast.parse(write_snippets(request, URL)["Python"]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "class_model"
    )
    assert ast.literal_eval(call.args[1]) == [name]


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (["lemon", "bee"], "--targets lemon,bee"),
        (["4", 4, 0], "--targets 4 --index 4 --index 0"),
        ([7], "--index 7"),
        (["drake, male", "lemon"], "--target 'drake, male' --target lemon"),
        (["all"], "--target all"),
        (['"x"', "y"], "--target '\"x\"' --target y"),
        ("all", "--targets all"),
    ],
)
def test_the_command_line_snippet_names_the_same_classes(targets: Any, options: str) -> None:
    request = {"method": "class_model", "model": "shapes@1", "targets": targets}
    assert write_snippets(request, URL)["Command line"].endswith(f"--model shapes@1 {options} --wait")
