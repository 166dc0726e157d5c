"""Stored documents: names of earlier versions, and formats of newer ones."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from archetype.contract.job import State
from shared.errors import UnsupportedFormat
from shared.storage.documents import JobSpec, Manifest, ShardResult, StoredDocument
from shared.storage.s3 import read_document
from tests.support.jobs import make_spec

EARLIER_NAMES = {JobSpec: {"shards": "shares"}, ShardResult: {"metrics": "found"}}


@pytest.mark.parametrize("kind", EARLIER_NAMES)
def test_fields_are_stored_under_the_names_of_earlier_versions(kind: type[StoredDocument]) -> None:
    names = {name: field.alias for name, field in kind.model_fields.items() if field.alias}
    assert names == EARLIER_NAMES[kind]


def test_a_document_is_read_under_both_names() -> None:
    spec = make_spec(shards=(3, 2))
    stored = json.loads(spec.model_dump_json())
    assert (stored["shares"], "shards" in stored) == ([3, 2], False)
    assert JobSpec.model_validate(stored) == spec
    assert JobSpec.model_validate({"shards": stored.pop("shares"), **stored}) == spec
    assert ShardResult.model_validate({"found": {"a": 1}}) == ShardResult(metrics={"a": 1})


def test_a_spec_contains_everything_to_queue_its_job_again() -> None:
    job = make_spec(tags=["night"], webhook="https://example.org/").job("j")
    assert (job.id, job.state, job.method, job.model) == ("j", State.QUEUED, "class_model", "shapes@1")
    assert (job.tags, job.webhook, job.links["self"]) == (["night"], "https://example.org/", "/v1/jobs/j")


@pytest.mark.parametrize("kind", [JobSpec, ShardResult, Manifest])
def test_a_document_of_a_newer_version_is_unsupported_and_a_damaged_one_is_invalid(kind: Any) -> None:
    newer = {"format": kind.model_fields["format"].default + 1, "unknown": True}
    with pytest.raises(UnsupportedFormat, match="a newer version"):
        read_document(json.dumps(newer).encode(), kind)
    for data in (b"not JSON", b"[]", b'{"format": "x"}'):
        with pytest.raises(ValidationError):
            read_document(data, kind)
