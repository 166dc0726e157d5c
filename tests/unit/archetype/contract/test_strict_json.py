"""JSON without NaN and Infinity, in both directions."""

import json
import math
from typing import Any

import pytest

from archetype.contract.job import Job, State, links_of, now
from archetype.contract.strict_json import dump_json, load_json, replace_non_finite
from shared.storage.documents import Manifest, ShardResult


def read_strictly(text: str | bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({"score": [number]})


@pytest.mark.parametrize("text", ["NaN", '{"x": [Infinity]}', "-Infinity", "1e999", '{"x": -1e400}'])
def test_a_number_that_is_not_finite_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number in JSON|too large"):
        load_json(text)


def test_finite_values_come_back_as_they_were() -> None:
    value = {"a": [1, -2.5, 1e308, "NaN", None, True], "ü": {}}
    assert load_json(dump_json(value)) == value
    assert replace_non_finite(value) == value


def test_numbers_that_are_not_finite_become_null_at_any_depth() -> None:
    assert replace_non_finite({"a": (1.0, math.nan), "b": {"c": [math.inf]}}) == {"a": [1.0, None], "b": {"c": [None]}}


def test_stored_documents_and_answers_are_strict_whatever_a_method_measured() -> None:
    metrics = {"pairs": [{"score": math.nan, "bounds": [math.inf, 1.0]}]}
    job = Job(
        id="1", method="saliency", model="m@1", state=State.SUCCEEDED, created_at=now(), links=links_of("1"),
        metrics=metrics, provenance=metrics,
    )  # fmt: skip
    for document in (job, Manifest(job=job, fence=1), ShardResult(metrics=metrics)):
        assert "bounds" in json.dumps(read_strictly(document.model_dump_json()))
