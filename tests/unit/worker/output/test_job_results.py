"""The results of a job over images, combined from those of its shards."""

from typing import Any

import pytest

from shared.errors import InvalidRequest, Problem
from shared.queue.sharding import ImageRange
from worker.job.context import ShardPlace
from worker.output.contact_sheet import MAX_COLUMNS, MAX_ROWS, choose_rows
from worker.output.job_results import JobResults, explain_empty_result

ERROR = {"type": "/problems/not-finite", "title": "Result not finite", "status": 422, "detail": "NaN", "errors": []}


def part(first: dict[str, str], **changes: Any) -> dict[str, Any]:
    """The results of a shard with these names of images by id, one pair for each."""
    fields = {
        "images": len(first),
        "pairs": [{"image": image, "name": name} for image, name in first.items()],
        "extras": [{"of": name} for name in first.values()],
        "failed": [],
        "first": first,
        "repeated": {},
        "rows": {image: [["picture", name], ["cell", name]] for image, name in first.items()},
        "notes": {"shard": next(iter(first.values()), None)},
    }
    return fields | changes


def names(results: JobResults) -> list[str]:
    return [pair["name"] for pair in results.pairs]


def test_the_pairs_of_all_shards_keep_their_order() -> None:
    results = JobResults.of([part({"1": "a", "2": "b"}), part({}), part({"3": "c"})])
    assert names(results) == ["a", "b", "c"]
    assert list(results.sheet.rows) == ["1", "2", "3"]
    assert (results.images, results.repeated, results.failed) == (3, {}, [])
    assert results.notes == [{"shard": "a"}, {"shard": None}, {"shard": "c"}]


def test_an_image_that_an_earlier_shard_has_under_another_name_counts_once() -> None:
    error = {"image": "b2", "error": ERROR}
    again = part({"2": "b2", "3": "c"}, repeated={"b3": "b2", "c2": "c"}, failed=[error])
    results = JobResults.of([part({"1": "a", "2": "b"}), again])
    assert names(results) == ["a", "b", "c"]
    assert results.repeated == {"b2": "b", "b3": "b", "c2": "c"}
    assert results.failed == []  # the image has the result of the first shard
    assert results.sheet.rows["2"] == [["picture", "b"], ["cell", "b"]]


def test_only_the_extras_of_pairs_that_count_are_yielded() -> None:
    results = JobResults()
    yielded = [extra for shard in (part({"1": "a"}), part({"1": "a2", "2": "b"})) for _, extra in results.add(shard)]
    assert yielded == [{"of": "a"}, {"of": "b"}]


def test_the_shards_of_one_image_share_a_row_and_report_its_failure_once() -> None:
    error = {"image": "a", "error": ERROR}
    results = JobResults.of([part({"1": "a"}, failed=[error]), part({"1": "a"}, failed=[error])])
    assert names(results) == ["a", "a"]
    assert results.failed == [error]
    assert results.sheet.rows["1"] == [["picture", "a"], ["cell", "a"], ["cell", "a"]]
    full = [["cell", "a"]] * MAX_COLUMNS
    wide = JobResults.of([part({"1": "a"}, rows={"1": full}), part({"1": "a"})])
    assert wide.sheet.rows["1"] == full


def test_a_sheet_has_a_limited_number_of_rows() -> None:
    shards = [part({f"{shard}-{number}": f"{shard}-{number}" for number in range(30)}) for shard in range(3)]
    assert len(JobResults.of(shards).sheet.rows) == MAX_ROWS


def test_shards_keep_the_rows_of_the_first_images_and_a_few_if_these_fail() -> None:
    assert choose_rows(ShardPlace()) == MAX_ROWS
    places = [ShardPlace(number, 300, ImageRange(64 * number, 64 * number + 64)) for number in range(300)]
    assert [choose_rows(place) for place in places] == [MAX_ROWS, *([1] * 299)]
    assert choose_rows(ShardPlace(1, 2, ImageRange(40, 80))) == MAX_ROWS
    assert choose_rows(ShardPlace(1, 10, ImageRange(40, 80))) == 15


def test_a_job_without_results_says_why() -> None:
    failed = JobResults.of([part({}), part({}, failed=[{"image": "a", "error": ERROR}])])
    problem = explain_empty_result(failed, {})
    assert isinstance(problem, Problem)
    assert problem.document.model_dump(mode="json") == ERROR
    assert isinstance(explain_empty_result(JobResults.of([part({})]), {}), InvalidRequest)


@pytest.mark.parametrize("reason", ["not_finite", "dead"])
def test_a_job_whose_ascents_gave_nothing_says_how_they_ended(reason: str) -> None:
    results = JobResults(images=1)
    problem = explain_empty_result(results, {"pairs": [{"layers": [{"stopped": reason}]}]})
    assert problem.document.type == f"/problems/{'not-finite' if reason == 'not_finite' else 'dead-target'}"
