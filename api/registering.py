"""Registers a release: checked, stored, and tried by a worker before anybody can use it."""

import time

import structlog
from pydantic import ValidationError

from api.services import Services
from shared.access import Caller
from shared.broker import send_release
from shared.catalogue import Release, read_classes
from shared.errors import FieldError, InvalidRequest, ReleaseTaken, Unavailable
from shared.explanation import explain
from shared.registration import NewRelease, Registration, RegistrationState

log = structlog.get_logger()

POLL_SECONDS = 0.1
STORE_SECONDS = 30
"""No registration takes longer to store."""


def register(new: NewRelease, caller: Caller, services: Services) -> Registration:
    """Stores a release and sends it to be tried. It is everybody's where whoever runs the service registers it.

    Raises:
        InvalidRequest: Its classes or weights are not there, or may not be used.
        ReleaseTaken: There is such a release.
    """
    classes = read_classes(new.classes) if isinstance(new.classes, str) else new.classes
    if classes is None:
        field = FieldError(field="/classes", detail="no such list", given=new.classes, allowed=["imagenet", "cifar10"])
        raise InvalidRequest(f"there is no list of classes {new.classes!r}; give the names, or one of these", field)
    check_source(new, services)
    registration = Registration(entry=make_entry(new, classes, None if caller.root else caller.tenant))
    # A store that ignores If-None-Match would take both of two that come at once.
    with services.records.alone(f"release:{registration.entry.reference}", STORE_SECONDS) as alone:
        if not alone:
            raise _taken(registration)
        check_free(registration, services)
        services.storage.save_registration(registration)
    try:
        send_release(services.broker, new.name, new.release)
    except Unavailable as problem:  # it is stored, and the sweep sends what was not sent
        log.warning("release.unsent", model=registration.entry.reference, error=problem.detail)
    return registration


def make_entry(new: NewRelease, classes: list[str], tenant: str | None) -> Release:
    """The entry of the catalogue. Raises `InvalidRequest` where it is none."""
    try:
        entry = new.to_release(classes, tenant)
        entry.model_dump_json()  # what JSON gave may be nothing that JSON can carry, as half a character
    except ValidationError as error:
        raise explain(error) from error
    except ValueError as error:
        raise InvalidRequest(f"the entry cannot be stored: {error}; write it in valid Unicode") from error
    return entry


def check_free(registration: Registration, services: Services) -> None:
    """Raises `ReleaseTaken` unless the name is free, or was given to a release that was refused."""
    entry = registration.entry
    earlier = services.storage.load_registration(entry.name, entry.release)
    written = entry.release in [known.release for known in services.catalogue.releases(entry.name)]
    if written or (earlier is not None and earlier.state is not RegistrationState.REFUSED):
        raise _taken(registration)


def check_source(new: NewRelease, services: Services) -> None:
    """Raises `InvalidRequest` where the weights are not there or may not be used, or programs are not allowed."""
    if new.architecture == "program" and not services.settings.allow_programs:
        field = FieldError(field="/architecture", detail="not allowed", given="program")
        raise InvalidRequest(
            "exported programs are code; the operator allows them with ARCHETYPE_ALLOW_PROGRAMS", field
        )
    allowed = services.settings.weight_prefixes
    if new.key is not None and not any(new.key.startswith(prefix) for prefix in allowed):
        field = FieldError(field="/key", detail="not allowed", given=new.key, allowed=allowed)
        raise InvalidRequest("weights there may not be registered; the operator allows it with weight_prefixes", field)
    key = new.key or (f"weights/{new.upload}" if new.upload else None)
    if key is not None and not services.storage.has(key):
        field = FieldError(field="/key" if new.key else "/upload", detail="not there", given=new.key or new.upload)
        raise InvalidRequest(f"there is nothing at {key} in the store; upload it with POST /v1/weights", field)


def wait_for_trial(registration: Registration, services: Services, seconds: float) -> Registration:
    """The registration once a worker has decided, or as it stands after so many seconds."""
    limit, entry = time.monotonic() + seconds, registration.entry
    while registration.state is RegistrationState.TRYING and time.monotonic() < limit:
        time.sleep(POLL_SECONDS)
        registration = services.storage.load_registration(entry.name, entry.release) or registration
    return registration


def _taken(registration: Registration) -> ReleaseTaken:
    reference = registration.entry.reference
    return ReleaseTaken(f"there is {reference} already, and releases never change; give this one another release")
