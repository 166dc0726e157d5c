"""What the views work with, set up once per process."""

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from celery import Celery
from flask import current_app

from api.identity import Issuer
from api.limits import Pace
from api.manifests import Manifests
from shared.broker import create_broker
from shared.bucket import Bucket
from shared.catalogue import Catalogue, load_catalogue
from shared.claims import Claims
from shared.events import Events
from shared.keyring import Keyring
from shared.presence import Presence
from shared.records import Records
from shared.registry import Registry
from shared.settings import Settings
from shared.storage import Storage
from shared.webhooks import Outbox, SecretStore


@dataclass(frozen=True)
class Services:
    """The API's connections to the rest of the service, and what its threads have to share.

    Attributes:
        manifests: Those that were asked for lately, at hand.
        registry: The releases that were registered; the catalogue has them too.
        issuer: The identity provider whose tokens are taken, if there is one.
        pace: How often keys were used to submit.
        presence: Which workers hold which networks.
        waiters: Requests that may wait for a job to end; the other threads stay free to answer.
        outbox: Messages to webhooks that are to be delivered, and what became of others.
        secrets: What those are signed with.
        listeners: Connections that may listen to events.
        decoders: Pictures that may be decoded at a time; each can take some hundred megabytes.
    """

    settings: Settings
    records: Records
    claims: Claims
    storage: Storage
    manifests: Manifests
    broker: Celery
    catalogue: Catalogue
    registry: Registry
    keyring: Keyring
    issuer: Issuer | None
    pace: Pace
    presence: Presence
    events: Events
    outbox: Outbox
    secrets: SecretStore
    waiters: BoundedSemaphore
    listeners: BoundedSemaphore
    decoders: BoundedSemaphore


def connect(settings: Settings) -> Services:
    """Builds the clients; none of them connects before it is used."""
    storage = Storage(Bucket(settings))
    registry = Registry(storage)
    records = Records(settings)
    return Services(
        settings=settings,
        records=records,
        claims=Claims(records),
        presence=Presence(records),
        storage=storage,
        manifests=Manifests(storage),
        broker=create_broker(settings),
        catalogue=load_catalogue(settings.catalogue, registry),
        registry=registry,
        keyring=Keyring(storage.bucket),
        issuer=Issuer(settings.oidc_issuer, settings) if settings.oidc_issuer else None,
        pace=Pace(settings),
        events=Events(records),
        outbox=Outbox(records, storage.bucket),
        secrets=SecretStore(records, storage.bucket),
        waiters=BoundedSemaphore(8),
        listeners=BoundedSemaphore(settings.max_listeners),
        decoders=BoundedSemaphore(2),
    )


def services() -> Services:
    """The services of the application that handles this request."""
    return cast("Services", current_app.extensions["archetype"])
