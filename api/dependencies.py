"""The services that views and the scheduler use, built once per process."""

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from celery import Celery
from flask import current_app

from api.adapters.admission import Admission
from api.adapters.listeners import Listeners
from api.adapters.manifest_cache import ManifestCache
from api.adapters.oidc import OIDCVerifier
from api.adapters.rate_limits import SubmitRateLimiter
from api.adapters.readiness import Readiness
from api.adapters.report_signer import ReportSigner, load_signer
from api.adapters.sessions import Sessions
from api.services.mlflow.import_store import ImportStore
from shared.audits.decisions import DecisionStore
from shared.catalogue.catalogue import Catalogue, load_catalogue
from shared.catalogue.registered import RegisteredReleases
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.segments import Segments
from shared.isolation.child import Limits
from shared.media.decoder import Decoder
from shared.process.check_settings import check_settings
from shared.queue.celery_app import RETRY_PAUSES, create_broker
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.events import Events
from shared.state.idempotency import IdempotencyKeys
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.memory import RedisMemory
from shared.state.redis_client import PROBE, RedisClient
from shared.state.redis_client import QUICK as QUICK_REDIS
from shared.state.worker_registry import WorkerRegistry
from shared.storage.api_keys import ApiKeyStore
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from shared.storage.s3_client import QUICK
from shared.storage.schedules import ScheduleStore
from shared.storage.webhook_secrets import SecretStore

DECODER_GRACE = 0.8
"""Seconds on the clock that a file may have in addition to its CPU time: every upload is answered within five."""

SEND_SECONDS = 1.5
"""How long an attempt to send a message waits for Redis; a job whose message is lost is accepted, and sent later."""


@dataclass(frozen=True)
class Services:
    """The connections of the API to the rest of the service, and the limits that its threads share.

    Attributes:
        settings: The settings.
        redis_client: The connection pool of Redis.
        redis_memory: How much of its memory Redis uses.
        job_index: The records of jobs in Redis.
        job_list: All jobs: those with a record in Redis, and the ended ones in the history.
        locks: Locks in Redis.
        idempotency: Idempotency keys in Redis.
        claims: Claims of workers to jobs.
        storage: Jobs, uploads and releases in the object store.
        manifests: Cache of the manifests that were read last.
        broker: The Celery application that sends messages to workers.
        catalogue: All models: the built-in, the configured and the registered ones.
        registered_releases: The registered releases, which the catalogue contains too.
        api_keys: The API keys.
        oidc: The verifier of the OIDC issuer's tokens, if one is configured.
        sessions: The sessions of signed-in users of the web page.
        admission: Counts the submissions that are being accepted.
        submit_limiter: Counts submissions by key.
        worker_registry: The connected workers and the networks that they have loaded.
        events: The streams of events in Redis.
        outbox: Webhooks to deliver, and their deliveries.
        secrets: The signing secrets of webhooks.
        schedules: Schedules of audits and their outcomes.
        imports: Versions of a registry that are imported.
        decisions: Decisions of people about audits.
        signer: Signs reports of audits, if the operator has set a key.
        waiters: Limits the requests that wait for a job to end, so that other threads stay free to answer.
        listeners: Limits the open event streams, fairly among tenants.
        readiness: Tests Redis and the object store.
        decoder: Decodes uploaded files in child processes.
    """

    settings: Settings
    redis_client: RedisClient
    redis_memory: RedisMemory
    job_index: JobIndex
    job_list: JobList
    locks: Locks
    idempotency: IdempotencyKeys
    claims: Claims
    storage: JobStore
    manifests: ManifestCache
    broker: Celery
    catalogue: Catalogue
    registered_releases: RegisteredReleases
    api_keys: ApiKeyStore
    oidc: OIDCVerifier | None
    sessions: Sessions
    admission: Admission
    submit_limiter: SubmitRateLimiter
    worker_registry: WorkerRegistry
    events: Events
    outbox: Outbox
    secrets: SecretStore
    schedules: ScheduleStore
    imports: ImportStore
    decisions: DecisionStore
    signer: ReportSigner | None
    waiters: BoundedSemaphore
    listeners: Listeners
    readiness: Readiness
    decoder: Decoder


def connect(settings: Settings) -> Services:
    """Builds the services. No client connects before its first use. Raises `UnsupportedSetting`."""
    check_settings(settings)
    storage = JobStore(Bucket(settings, QUICK))
    registered_releases = RegisteredReleases(storage)
    redis_client = RedisClient(settings, QUICK_REDIS)
    job_index, locks = JobIndex(redis_client), Locks(redis_client)
    return Services(
        settings=settings,
        redis_client=redis_client,
        redis_memory=RedisMemory(redis_client),
        job_index=job_index,
        job_list=JobList(job_index, History(Segments(storage.bucket), locks)),
        locks=locks,
        idempotency=IdempotencyKeys(redis_client),
        claims=Claims(redis_client, settings.tenant_shares),
        worker_registry=WorkerRegistry(redis_client),
        storage=storage,
        manifests=ManifestCache(storage),
        broker=_create_quick_broker(settings),
        catalogue=load_catalogue(settings.catalogue, registered_releases),
        registered_releases=registered_releases,
        api_keys=ApiKeyStore(storage.bucket),
        oidc=OIDCVerifier(settings.oidc_issuer, settings) if settings.oidc_issuer else None,
        sessions=Sessions(redis_client),
        admission=Admission(redis_client),
        submit_limiter=SubmitRateLimiter(settings),
        events=Events(redis_client),
        outbox=Outbox(redis_client, storage.bucket),
        secrets=SecretStore(redis_client, storage.bucket),
        schedules=ScheduleStore(storage.bucket),
        imports=ImportStore(storage.bucket),
        decisions=DecisionStore(storage.bucket),
        signer=load_signer(settings),
        waiters=BoundedSemaphore(8),
        listeners=Listeners(settings.max_listeners),
        readiness=Readiness(RedisClient(settings, PROBE), storage.bucket),
        decoder=Decoder(
            Limits(
                memory=settings.decoder_bytes,
                cpu_seconds=settings.decoder_seconds,
                seconds=settings.decoder_seconds + DECODER_GRACE,
                niceness=5,  # requests that need no decoder have precedence
            ),
            number=settings.decoders,
        ),
    )


def _create_quick_broker(settings: Settings) -> Celery:
    broker = create_broker(settings)
    limits = {"socket_timeout": SEND_SECONDS, "socket_connect_timeout": QUICK_REDIS.connect_seconds}
    broker.conf.broker_transport_options = broker.conf.broker_transport_options | limits
    broker.conf.task_publish_retry_policy = {"max_retries": 1} | RETRY_PAUSES
    return broker


def get_services() -> Services:
    """Returns the services of the application that handles the current request."""
    return cast("Services", current_app.extensions["archetype"])
