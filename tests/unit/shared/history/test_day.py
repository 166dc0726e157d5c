"""Headers of days: which segments can be left out, and how rows are divided into segments."""

from collections.abc import Sequence

import pytest

from archetype.contract.job import Job, State, now
from shared.history.day import MAX_ROWS, MAX_VALUES, Day, describe_segment, divide
from shared.history.row import Row, make_row


def make_rows(count: int, start: int = 0, **changes: object) -> list[Row]:
    fields = {
        "method": "saliency",
        "model": "net@2",
        "state": State.SUCCEEDED,
        "created_at": now(),
        "tags": [],
    } | changes
    return [
        make_row(Job.model_validate({"id": f"{number:026}"} | fields), fence=1, size=1)
        for number in range(start, start + count)
    ]


def by_id(rows: Sequence[Row]) -> dict[str, Row]:
    return {row.id: row for row in rows}


def test_a_segment_is_left_out_if_it_has_no_row_with_a_value() -> None:
    segment = describe_segment("s", [*make_rows(3, tags=["a"]), *make_rows(2, 3, state=State.FAILED)])
    assert segment.counts["state"] == {"succeeded": 3, "failed": 2}
    assert segment.may_match([("state", "failed"), ("model", "net"), ("tag", "a")])
    assert not segment.may_match([("state", "cancelled")])
    assert not segment.may_match([("state", "failed"), ("tag", "b")])
    assert not segment.may_match([("model", "ne")])


def test_a_segment_with_many_values_has_their_digests_and_is_left_out_for_others() -> None:
    rows = [row for number in range(MAX_VALUES + 1) for row in make_rows(1, number, tags=[f"build-{number}"])]
    segment = describe_segment("s", rows)
    assert "tag" not in segment.counts
    assert all(segment.may_match([("tag", f"build-{number}")]) for number in range(MAX_VALUES + 1))
    assert not any(segment.may_match([("tag", f"run-{number}")]) for number in range(1000))
    assert Day(segments=(segment,)).count("tag") == {}


def test_the_newest_segments_of_a_day_are_filled_and_others_are_divided_evenly() -> None:
    rows = make_rows(MAX_ROWS + 2)
    assert [len(part) for part in divide(by_id(rows), is_last=True)] == [MAX_ROWS, 2]
    assert [len(part) for part in divide(by_id(rows), is_last=False)] == [MAX_ROWS // 2 + 1] * 2
    assert [row for part in divide(by_id(rows[::-1]), is_last=True) for row in part] == rows
    assert divide({}, is_last=True) == divide({}, is_last=False) == []


@pytest.mark.parametrize(("job", "position"), [(0, 0), (5, 0), (7, 0), (10, 1), (12, 1), (25, 2), (99, 2)])
def test_a_job_belongs_to_the_segment_that_begins_before_it(job: int, position: int) -> None:
    parts = [make_rows(3, 5), make_rows(3, 10), make_rows(3, 20)]
    day = Day(segments=tuple(describe_segment(str(number), rows) for number, rows in enumerate(parts)))
    assert day.find_position(f"{job:026}") == position


def test_a_day_counts_the_rows_of_all_segments() -> None:
    segments = (describe_segment("a", make_rows(3)), describe_segment("b", make_rows(2, 3, state=State.FAILED)))
    assert Day(segments=segments).count("state") == {"succeeded": 3, "failed": 2}
