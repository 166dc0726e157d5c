"""The keys of all objects in the bucket. S3 is the source of truth; this module is its map.

open/{id}                               written before the request; exists until the job has finished
keys/{digest}                           the job id that belongs to an idempotency key
jobs/probe/{name}                       test object: whether the store accepts objects of jobs
jobs/{id}/request.json                  the accepted request, written before the job is queued
jobs/{id}/attempts/{fence}/{name}       artifacts, by the fence of the attempt that wrote them
jobs/{id}/checkpoints/{shard}/{fence}   checkpoints of a shard
jobs/{id}/parts/{shard}/{fence}.json    result of a shard, if the job has several
jobs/{id}/manifests/{fence}.json        written last; without one, the job has not finished; the highest fence counts
history/{tenant}/days/{day}.json        header of the history of a day: its segments, and what can be found in each
history/{tenant}/rows/{day}/{segment}   a segment: up to a thousand ended jobs that were created on this day
expired/{id}                            marks a job whose result was deleted by retention; contains its tenant
images/{tenant}/{sha256}                an uploaded image; with .json, its size and format
archives/{tenant}/{sha256}              an uploaded ZIP archive of images; with .json, the number of its images
models/{name}/{release}.json            description of a release: what a worker found when it loaded it
models/@{tenant}/{name}/{release}.json  the same for a release that a tenant registered
weights/{sha256}                        weights that the operator uploaded; before version 0.3, anyone
weights/{tenant}/{sha256}               weights that a tenant uploaded
audits/{tenant}/{digest}                the id of the audit of these releases under this plan
audits/{tenant}/{id}/decisions/{decision}.json  a decision of a person about the audit
audits/{tenant}/releases/{name}/{release}/{decision}.json  the same decision, by the release that was audited
audits/{tenant}/{id}/write_backs/{schedule}.json  how the verdict of an audit was written to a model registry
members/{tenant}/{digest}               the id of the job that computes one part of an audit
searches/{tenant}/{digest}              sizes of the triggers of a baseline; later audits with the same probes use them
releases/{name}/{release}.json          a release of the operator (before version 0.3, of anyone) and its check
releases/@{tenant}/{name}/{release}.json  the same of a tenant: names of one tenant are independent of those of others
schedules/{tenant}/{id}.json            an audit schedule
outcomes/{schedule}/{release}.json      what the schedule did for a release
imports/pending/{name}/{version}.json   a version of an MLflow registry that must still be fetched or tried
imports/ended/{name}/{version}.json     what became of it
writebacks/{schedule}/{audit}.json      a verdict that must still be written to a model registry
outbox/{tenant}/{id}.json               a webhook delivery that is not complete
deliveries/{tenant}/{id}.json           the log of a webhook delivery
access/keys/{id}.json                   an API key: its rights and the digest of its secret
access/webhooks/{tenant}.json           the secrets that sign a tenant's webhooks
setup/probe                             test object of `deploy/setup.py`
"""

import hashlib

PREFIXES = (
    "open",
    "keys",
    "jobs",
    "history",
    "expired",
    "images",
    "archives",
    "models",
    "weights",
    "audits",
    "members",
    "searches",
    "releases",
    "schedules",
    "outcomes",
    "imports",
    "writebacks",
    "outbox",
    "deliveries",
    "access",
    "setup",
)
"""First parts of all keys that the service may write. Operators can allow it to read further prefixes."""

OPEN_JOBS = "open/"
IDEMPOTENCY_KEYS = "keys/"
JOBS = "jobs/"
HISTORY = "history/"
IMAGES = "images/"
ARCHIVES = "archives/"
WEIGHTS = "weights/"
AUDITS = "audits/"
MEMBERS = "members/"
SEARCHES = "searches/"
RELEASES = "releases/"
PENDING_IMPORTS = "imports/pending/"
ENDED_IMPORTS = "imports/ended/"
WRITE_BACKS = "writebacks/"
OUTBOX = "outbox/"
API_KEYS = "access/keys/"


def open_marker(job_id: str) -> str:
    """Key of the empty object that exists while a job has not finished."""
    return f"{OPEN_JOBS}{job_id}"


def idempotency_record(tenant: str, idempotency_key: str) -> str:
    """Key of the job id that belongs to a tenant's idempotency key."""
    return f"{IDEMPOTENCY_KEYS}{hashlib.sha256(f'{tenant} {idempotency_key}'.encode()).hexdigest()}"


def job_folder(job_id: str) -> str:
    """Prefix of everything that is stored of a job."""
    return f"{JOBS}{job_id}/"


def job_request(job_id: str) -> str:
    """Key of the accepted request of a job."""
    return f"{job_folder(job_id)}request.json"


def job_probe(name: str) -> str:
    """Key of a test object among the objects of jobs."""
    return f"{JOBS}probe/{name}"


def artifact(job_id: str, fence: int, name: str) -> str:
    """Key of an artifact that the attempt with this fence wrote."""
    return f"{job_folder(job_id)}attempts/{fence}/{name}"


def checkpoints(job_id: str, shard: int) -> str:
    """Prefix of the checkpoints of a shard."""
    return f"{job_folder(job_id)}checkpoints/{shard}/"


def all_shard_results(job_id: str) -> str:
    """Prefix of the results of all shards of a job."""
    return f"{job_folder(job_id)}parts/"


def shard_results(job_id: str, shard: int) -> str:
    """Prefix of the results of a shard."""
    return f"{all_shard_results(job_id)}{shard}/"


def manifests(job_id: str) -> str:
    """Prefix of the manifests of a job."""
    return f"{job_folder(job_id)}manifests/"


def history_days(tenant: str) -> str:
    """Prefix of the headers of the days in a tenant's history."""
    return f"{HISTORY}{tenant}/days/"


def history_day(tenant: str, day: str) -> str:
    """Key of the header of one day in a tenant's history."""
    return f"{history_days(tenant)}{day}.json"


def history_segments(tenant: str) -> str:
    """Prefix of all segments of a tenant's history."""
    return f"{HISTORY}{tenant}/rows/"


def history_segment(tenant: str, day: str, name: str) -> str:
    """Key of a segment of one day in a tenant's history."""
    return f"{history_segments(tenant)}{day}/{name}"


def expired_marker(job_id: str) -> str:
    """Key of the object that marks a job whose result was deleted by retention."""
    return f"expired/{job_id}"


def images(tenant: str) -> str:
    """Prefix of a tenant's uploaded images."""
    return f"{IMAGES}{tenant}/"


def archives(tenant: str) -> str:
    """Prefix of a tenant's uploaded archives."""
    return f"{ARCHIVES}{tenant}/"


def model_description(name: str, release: str, tenant: str | None = None) -> str:
    """Key of the description of a release; of a tenant's own release if a tenant is given."""
    return f"models/{_namespace(tenant)}{name}/{release}.json"


def uploaded_weights(digest: str, tenant: str | None = None) -> str:
    """Key of weights with this SHA-256 digest that a tenant uploaded; without a tenant, the operator."""
    return f"{WEIGHTS}{digest}" if tenant is None else f"{WEIGHTS}{tenant}/{digest}"


def audit_record(tenant: str, digest: str) -> str:
    """Key of the id of the audit with this digest of its releases and plan."""
    return f"{AUDITS}{tenant}/{digest}"


def write_back_results(tenant: str, audit_id: str) -> str:
    """Prefix of the documents that tell how the verdict of an audit was written to a model registry."""
    return f"{AUDITS}{tenant}/{audit_id}/write_backs/"


def decisions(tenant: str, audit_id: str) -> str:
    """Prefix of the decisions of people about an audit."""
    return f"{AUDITS}{tenant}/{audit_id}/decisions/"


def decisions_about(tenant: str, reference: str) -> str:
    """Prefix of the decisions of people about all audits of a release."""
    name, _, release = reference.partition("@")
    return f"{AUDITS}{tenant}/releases/{name}/{release}/"


def audit_member_record(tenant: str, digest: str) -> str:
    """Key of the id of the job with this digest of its request, which belongs to an audit."""
    return f"{MEMBERS}{tenant}/{digest}"


def trigger_search(tenant: str, digest: str) -> str:
    """Key of the sizes of a baseline's triggers, by the digest of what was searched."""
    return f"{SEARCHES}{tenant}/{digest}"


def registration(name: str, release: str, tenant: str | None = None) -> str:
    """Key of a registered release; of a tenant's own release if a tenant is given."""
    return f"{RELEASES}{_namespace(tenant)}{name}/{release}.json"


def read_registration_key(key: str) -> tuple[str | None, str, str]:
    """Tenant, name and release of the key of a registered release; no tenant if it is not a tenant's own release."""
    *tenant, name, file = key.removeprefix(RELEASES).split("/")
    return tenant[0].removeprefix("@") if tenant else None, name, file.removesuffix(".json")


def _namespace(tenant: str | None) -> str:
    """Part of a key that separates the names of a tenant from all others: no model has a name with an `@`."""
    return "" if tenant is None else f"@{tenant}/"


def schedules(tenant: str = "") -> str:
    """Prefix of a tenant's schedules; without a tenant, of all schedules."""
    return f"schedules/{tenant}/" if tenant else "schedules/"


def outcomes(schedule_id: str) -> str:
    """Prefix of the outcomes of a schedule."""
    return f"outcomes/{schedule_id}/"


def pending_import(model: str, version: str) -> str:
    """Key of a version of a registry that must still be fetched or tried."""
    return f"{PENDING_IMPORTS}{model}/{version}.json"


def ended_import(model: str, version: str) -> str:
    """Key of what became of a version of a registry."""
    return f"{ENDED_IMPORTS}{model}/{version}.json"


def write_back(schedule_id: str, audit_id: str) -> str:
    """Key of a verdict that must still be written to a model registry."""
    return f"{WRITE_BACKS}{schedule_id}/{audit_id}.json"


def outbox_entry(tenant: str, delivery_id: str) -> str:
    """Key of a webhook delivery that is not complete."""
    return f"{OUTBOX}{tenant}/{delivery_id}.json"


def delivery_log(tenant: str, delivery_id: str) -> str:
    """Key of the log of a webhook delivery."""
    return f"deliveries/{tenant}/{delivery_id}.json"


def api_key(key_id: str) -> str:
    """Key of the document of an API key."""
    return f"{API_KEYS}{key_id}.json"


def webhook_secrets(tenant: str) -> str:
    """Key of the secrets that sign a tenant's webhooks."""
    return f"access/webhooks/{tenant}.json"
