"""JSON responses, ETags of jobs, and cursors of lists."""

import base64

import pytest

from api.http.responses import make_job_response, make_json_response, read_cursor, write_cursor
from archetype.contract.job import Progress
from shared.errors import InvalidRequest
from shared.state.job_ids import new_job_id
from tests.support.jobs import make_spec


def test_a_json_response_has_status_location_and_document() -> None:
    response = make_json_response(Progress(done=1, total=2), 201, location="/v1/things/1")
    assert (response.status_code, response.mimetype) == (201, "application/json")
    assert response.headers["Location"] == "/v1/things/1"
    assert Progress.model_validate_json(response.get_data()) == Progress(done=1, total=2)


def test_the_etag_of_a_job_changes_with_the_job_alone() -> None:
    job = make_spec().job(new_job_id())
    etag = make_job_response(job).headers["ETag"]
    assert make_job_response(job).headers["ETag"] == etag
    changed = job.model_copy(update={"progress": Progress(done=1, total=2)})
    assert make_job_response(changed).headers["ETag"] != etag


def test_a_cursor_returns_the_id_that_it_was_made_of() -> None:
    job_id = new_job_id()
    assert read_cursor(write_cursor(job_id)) == job_id


def test_the_first_page_has_no_cursor_and_the_last_page_makes_none() -> None:
    assert read_cursor(None) is None
    assert write_cursor(None) is None


@pytest.mark.parametrize("cursor", ["x", "%00", "ü", "====", base64.urlsafe_b64encode(b"jobs/../x").decode(), "AAAA"])
def test_a_cursor_that_the_list_did_not_make_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="without a cursor") as refused:
        read_cursor(cursor)
    assert refused.value.errors[0].field == "cursor"
