"""The comparison of jobs: what is refused, and what differs."""

from typing import Any

import pytest

from api.web.results.comparison import (
    ComparisonQuery,
    align,
    explain_refusal,
    find_difference,
    flatten,
    list_differences,
)
from api.web.results.gallery import GalleryItem, Key
from archetype.contract.job import Artifact, Job, Progress, State, now


def make_job(method: str = "class_model", state: State = State.SUCCEEDED, model: str = "shapes@1") -> Job:
    return Job(
        id="0" * 26, tenant="default", method=method, model=model, state=state, created_at=now(), progress=Progress()
    )


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ([], None),
        ([make_job(), make_job()], None),
        ([make_job("saliency"), make_job(), make_job()], "Results of saliency and class model show different things"),
        ([make_job(), make_job("audit")], "is an audit"),
        ([make_job(), make_job(state=State.RUNNING)], "it is running"),
        ([make_job(state=State.FAILED)], "it failed"),
        ([make_job(state=State.CANCELLED)], "it was cancelled"),
    ],
)
def test_jobs_that_cannot_be_compared_are_refused_with_the_reason(jobs: list[Job], reason: str | None) -> None:
    refusal = explain_refusal(jobs)
    assert (refusal is None) == (reason is None)
    assert reason is None or reason in str(refusal)


def test_parameters_that_differ_are_listed_with_their_paths() -> None:
    specs: list[dict[str, Any]] = [
        {"method": "saliency", "model": "a", "images": ["x"], "params": {"kind": "gradient", "noise": {"count": 8}}},
        {"method": "saliency", "model": "b", "images": ["y"], "params": {"kind": "gradient", "noise": {"count": 16}}},
        {"method": "saliency", "model": "b", "params": {"kind": "gradient", "noise": None, "layers": ["one"]}},
    ]
    jobs = [make_job(model="a@1"), make_job(model="b@1"), make_job(model="b@1")]
    assert list_differences(jobs, specs) == [
        ("release", ["a@1", "b@1", "b@1"]),
        ("params.noise.count", ["8", "16", ""]),
        ("params.layers", ["", "", '["one"]']),
    ]
    assert list_differences(jobs[1:2] * 2, specs[1:2] * 2) == []


def test_nested_objects_are_flattened() -> None:
    assert dict(flatten({"a": {"b": {"c": 1}}, "d": "text", "e": None, "f": [1.5]})) == {
        "a.b.c": "1",
        "d": "text",
        "f": "[1.5]",
    }


def item(image: str, /, **images: str) -> GalleryItem:
    artifacts = {
        role: Artifact(name=href, href=href, media_type="image/png", bytes=1, sha256="0" * 64)
        for role, href in images.items()
    }
    return GalleryItem(Key(image, None, "", 1), None, images=artifacts)


def test_items_are_aligned_by_class_and_image() -> None:
    one, two, three = item("a"), item("b"), item("a")
    assert align([[one], [two, three]]) == [[one, three], [None, two]]
    assert align([]) == []


def test_the_difference_is_that_of_maps_or_of_results() -> None:
    first, second = item("a", heat_map="1", image="2"), item("a", heat_map="3")
    assert find_difference([first, second]) == ("1", "3")
    assert find_difference([item("a", image="1"), item("a", image="2")]) == ("1", "2")
    assert find_difference([first, None]) is None
    assert find_difference([first, second, second]) is None
    assert find_difference([first, item("a", box="4")]) is None


def test_the_query_reads_the_names_of_earlier_versions_and_drops_repetitions() -> None:
    assert ComparisonQuery.model_validate({"job": [], "left": "a", "right": ""}).job == ["a"]
    assert ComparisonQuery.model_validate({"job": ["a", "b", "a"], "right": "b"}).job == ["a", "b"]
    with pytest.raises(ValueError, match="at most 4"):
        ComparisonQuery.model_validate({"job": list("abcde")})
