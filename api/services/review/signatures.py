"""Signs reports of audits."""

import hashlib

from api.adapters.report_signer import ReportSigner
from api.dependencies import Services
from api.services.find_job import find_artifact
from api.services.review.decisions import DOCUMENT, find_report_digest
from archetype.contract.job import Job
from archetype.contract.report.signature import Signature
from shared.errors import NotFound
from shared.storage.s3 import Missing


def find_signer(services: Services) -> ReportSigner:
    """Returns the signer. Raises `NotFound` if the service has no signing key."""
    if services.signer is None:
        raise NotFound(
            "this service has no signing key, so its reports are not signed; the operator sets ARCHETYPE_SIGNING_KEY"
        )
    return services.signer


def sign_report(job: Job, services: Services) -> Signature:
    """Returns the signature of the report of an audit.

    Raises:
        NotFound: The service has no signing key, or the store no longer has the report that the audit wrote.
        NotFinished: The audit has no report.
    """
    signer, digest = find_signer(services), find_report_digest(job)
    _, key = find_artifact(job.id, DOCUMENT, job.tenant, services)
    try:
        document = services.storage.bucket.get(key)
    except Missing as error:
        raise NotFound(f"the report of audit {job.id} is no longer in the store") from error
    if hashlib.sha256(document).hexdigest() != digest:
        raise NotFound(f"the stored report of audit {job.id} was changed after the audit, so it is not signed")
    return signer.sign(document)
