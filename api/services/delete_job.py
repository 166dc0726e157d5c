"""Deletes jobs with their files."""

from api.dependencies import Services
from api.services.find_job import check_id, find_job
from shared.errors import NotFinished


def delete(job_id: str, tenant: str, services: Services) -> None:
    """Deletes a job that has ended, with everything that it stored.

    Raises:
        NotFound: The tenant has no such job.
        Gone: The result has expired.
        NotFinished: The job has not ended.
    """
    check_id(job_id)
    # The lists still contain a job whose manifest an interrupted deletion has already removed.
    job = services.job_list.find(tenant, job_id) or find_job(job_id, tenant, services)
    if not job.state.terminal:
        raise NotFinished(f"job {job_id} is {job.state}; cancel it first with POST /v1/jobs/{job_id}/cancel")
    services.storage.delete_job(job_id)
    services.job_list.delete([job])
