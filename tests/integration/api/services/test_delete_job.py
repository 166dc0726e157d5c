"""Deletion of jobs."""

import httpx2

from archetype.client import Client
from deploy.local import Stack
from shared.storage.s3 import Bucket
from tests.support.api_requests import LONG, QUICK, Submit


def test_a_finished_job_is_deleted_with_all_its_artifacts(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(QUICK, Prefer="wait=50").json()["id"]
    artifact = client.job(job_id).artifacts[0]
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    assert http.get(artifact.href).status_code == 404
    assert job_id not in [job.id for job in client.jobs()]


def test_a_running_job_is_not_deleted(http: httpx2.Client, submit: Submit) -> None:
    job_id = submit(LONG).json()["id"]
    refused = http.delete(f"/v1/jobs/{job_id}")
    assert refused.status_code == 409
    assert "cancel" in refused.json()["detail"]


def test_a_deletion_that_was_interrupted_can_be_repeated(
    http: httpx2.Client, stack: Stack, submit: Submit, client: Client
) -> None:

    job_id = submit(QUICK, Prefer="wait=50").json()["id"]
    artifact = client.job(job_id).artifacts[0]
    bucket = Bucket(stack.settings)
    for key in list(bucket.keys(f"jobs/{job_id}/")):
        bucket.delete(key)
        assert http.get(artifact.href).status_code in (200, 404)
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert job_id not in [job.id for job in client.jobs()]
