"""Rows of the history: nothing that lists show is lost, and equal rows are equal texts."""

from datetime import UTC, datetime

from archetype.contract.job import Artifact, Job, Progress, State, links_of
from shared.errors import MemoryFull
from shared.history.row import make_row, pack, unpack

MOMENT = datetime(2026, 11, 29, 12, 30, 0, 123000, tzinfo=UTC)


def make_job(**changes: object) -> Job:
    job_id = "01k9v0m2q7gq5n9w3t8yx4r6zs"
    fields = {
        "id": job_id,
        "tenant": "alice",
        "method": "saliency",
        "model": "net@2",
        "state": State.FAILED,
        "tags": ["night", "ünïcode \u2028", "two\nlines"],
        "progress": Progress(done=3, total=9),
        "attempt": 2,
        "created_at": MOMENT,
        "started_at": MOMENT,
        "finished_at": MOMENT,
        "error": MemoryFull("no\nroom").document,
        "links": links_of(job_id),
    }
    return Job.model_validate(fields | changes)


def test_a_row_has_all_that_lists_show() -> None:
    job = make_job()
    (row,) = unpack(pack([make_row(job, fence=7, size=1234)]))
    assert row.job == job
    assert row.job.model_dump_json() == job.model_dump_json()
    assert row.bytes == 1234


def test_a_row_has_no_artifacts_and_no_metrics() -> None:
    artifact = Artifact(name="a.png", media_type="image/png", bytes=9, sha256="0", href="/a.png")
    row = make_row(make_job(artifacts=[artifact], metrics={"score": 1}), fence=7, size=9)
    assert row == make_row(make_job(), fence=7, size=9)


def test_the_facets_of_a_row_are_those_of_the_lists_in_redis() -> None:
    pairs = make_row(make_job(tags=["a", "a", "b"]), fence=1, size=0).pairs
    assert set(pairs) == {
        ("state", "failed"),
        ("method", "saliency"),
        ("model", "net"),
        ("model", "net@2"),
        ("tag", "a"),
        ("tag", "b"),
    }
    assert len(pairs) == 6
