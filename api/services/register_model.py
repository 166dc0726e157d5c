"""Registers a release: checks and stores it, and sends it to a worker, which tests it before it can be used."""

import time

import structlog
from pydantic import ValidationError

from api.dependencies import Services
from archetype.contract.problem import FieldError
from archetype.contract.registration import NewRelease, RegisteredRelease, Registrations
from shared.catalogue.catalogue import read_classes
from shared.catalogue.release import Release, build_release
from shared.errors import InvalidRequest, LimitReached, ReleaseTaken, Unavailable
from shared.queue.release_queue import ReleaseQueue, send_next_check
from shared.storage import layout
from shared.storage.api_keys import Caller
from shared.storage.documents import Registration, RegistrationState
from shared.validation.pydantic_errors import explain
from shared.validation.store_keys import expand_prefixes, is_allowed

log = structlog.get_logger()

POLL_SECONDS = 0.1
LOCK_SECONDS = 120
"""Longer than the store can take for one call."""


def register(new: NewRelease, caller: Caller, services: Services) -> Registration:
    """Stores a release and sends it to a worker. A release that the operator registers is visible to all tenants.

    Raises:
        InvalidRequest: The class list or the weights do not exist, or may not be used.
        ReleaseTaken: The tenant has the release already, or the operator has given its name to one for all tenants.
        LimitReached: Too many releases of the tenant wait for their check, or are registered.
    """
    classes = read_classes(new.classes) if isinstance(new.classes, str) else new.classes or []  # [] for a model folder
    if classes is None:
        field = FieldError(field="/classes", detail="no such list", given=new.classes, allowed=["imagenet", "cifar10"])
        raise InvalidRequest(f"there is no class list {new.classes!r}; send the names, or imagenet or cifar10", field)
    check_source(new, caller, services)
    weights_key = find_upload(new.upload, caller, services) if new.upload else None
    entry = make_entry(new, classes, name_owner(caller), weights_key)
    registration = Registration(entry=entry, registered_at=services.redis_client.now())
    # A store that ignores If-None-Match would accept both of two concurrent registrations.
    with services.locks.try_lock(f"release:{registration.entry.identity}", LOCK_SECONDS) as held:
        if held is None:
            raise _make_taken_problem(registration)
        check_free(registration, caller, services)
        take_place(registration.entry, services)
        held.extend(LOCK_SECONDS)
        services.storage.save_registration(registration)
    try:
        send_next_check(registration.entry.namespace, ReleaseQueue(services.redis_client), services.broker)
    except Unavailable as problem:  # the registration is stored, and recovery sends it later
        log.warning("release.unsent", model=registration.entry.reference, error=problem.detail)
    return registration


def list_registrations(caller: Caller, services: Services) -> Registrations:
    """Returns the releases that a tenant, or the operator, has registered, whatever the result of their checks."""
    owner = name_owner(caller)
    owned = [each for each in services.registered_releases.registrations(fresh=True) if each.entry.namespace == owner]
    items = [
        RegisteredRelease(
            model=each.entry.reference,
            state=each.state.value,
            registered_at=each.registered_at,
            attempts=each.attempt,
            error=each.error,
        )
        for each in reversed(owned)
    ]
    return Registrations(items=items)


def name_owner(caller: Caller) -> str | None:
    """Returns the tenant to which a caller's weights and releases belong; None for the operator, whose all can use."""
    return None if caller.root else caller.tenant


def take_place(entry: Release, services: Services) -> None:
    """Adds a release to its tenant's queue for the check. Raises `LimitReached` if the queue is full."""
    limit = services.settings.max_waiting_releases
    if not ReleaseQueue(services.redis_client).add(entry, limit):
        field = FieldError(field="", detail="releases of the tenant that wait for their check", allowed=limit)
        detail = f"{limit} releases of this tenant wait for their check, which is the maximum; try again later"
        raise LimitReached(detail, field)


def make_entry(new: NewRelease, classes: list[str], tenant: str | None, weights_key: str | None) -> Release:
    """Builds the catalogue entry of a release. Raises `InvalidRequest` if it is not valid."""
    try:
        entry = build_release(new, classes, tenant, weights_key)
        entry.model_dump_json()  # fails on lone surrogates, which JSON input can contain and JSON output cannot
    except ValidationError as error:
        raise explain(error, Release) from error
    except ValueError as error:
        raise InvalidRequest(f"the entry cannot be stored: {error}; send valid Unicode") from error
    return entry


def check_free(registration: Registration, caller: Caller, services: Services) -> None:
    """Checks that a release is new. A refused release may be registered again.

    The answer depends on the releases that the caller can see, and on nothing else.

    Raises:
        ReleaseTaken: The release exists already.
        LimitReached: The tenant has the maximum number of releases.
    """
    entry, limit = registration.entry, services.settings.max_releases
    catalogue = services.catalogue if caller.root else services.catalogue.of(caller.tenant)
    existing = services.storage.load_registration(entry.name, entry.release, entry.namespace)
    is_in_catalogue = entry.release in [release.release for release in catalogue.releases(entry.name)]
    if is_in_catalogue or (existing is not None and existing.state is not RegistrationState.REFUSED):
        raise _make_taken_problem(registration)
    if not caller.root and sum(release.tenant == caller.tenant for release in catalogue) >= limit:
        field = FieldError(field="", detail="releases of the tenant", allowed=limit)
        raise LimitReached(f"this tenant has {limit} releases, which is the maximum; ask the operator", field)


def check_source(new: NewRelease, caller: Caller, services: Services) -> None:
    """Raises `InvalidRequest` if the weights do not exist or may not be used, or programs are not allowed."""
    if new.architecture == "program" and not services.settings.exported_programs:
        field = FieldError(field="/architecture", detail="not allowed", given="program")
        raise InvalidRequest(
            "an exported program contains code; the operator allows it with ARCHETYPE_EXPORTED_PROGRAMS", field
        )
    prefixes = expand_prefixes(services.settings.weight_prefixes, caller.tenant)
    if new.key is not None and not is_allowed(new.key, prefixes):
        field = FieldError(field="/key", detail="not allowed", given=new.key, allowed=prefixes)
        raise InvalidRequest(
            f"weights at {new.key!r} may not be used; the operator allows prefixes with ARCHETYPE_WEIGHT_PREFIXES",
            field,
        )
    if new.key is not None and not services.storage.has(new.key):
        field = FieldError(field="/key", detail="not in the store", given=new.key)
        raise InvalidRequest(f"there are no weights at {new.key} in the store; store them there first", field)


def find_upload(digest: str, caller: Caller, services: Services) -> str:
    """Returns the key of weights that the caller's tenant has uploaded.

    Releases that were registered before version 0.3 name weights under a key without a tenant. The tenant of such a
    release can register these weights again.

    Raises:
        InvalidRequest: The tenant has not uploaded them, whether or not another tenant has.
    """
    owner, shared_key = name_owner(caller), layout.uploaded_weights(digest)
    key = layout.uploaded_weights(digest, owner)
    if services.storage.has(key):
        return key
    registered = services.registered_releases(fresh=True)
    if any(each.tenant == owner and each.key == shared_key for each in registered) and services.storage.has(shared_key):
        return shared_key
    field = FieldError(field="/upload", detail="not uploaded", given=digest)
    raise InvalidRequest(f"there are no weights {digest}; upload them with POST /v1/weights", field)


def wait_for_release_check(registration: Registration, services: Services, seconds: float) -> Registration:
    """Waits until a worker has tested a release.

    Returns:
        The registration when it is decided, or as it is after `seconds`. At once if too many requests wait already.
    """
    if not services.waiters.acquire(blocking=False):
        return registration
    try:
        return _poll(registration, services, seconds)
    finally:
        services.waiters.release()


def _poll(registration: Registration, services: Services, seconds: float) -> Registration:
    started, entry = time.monotonic(), registration.entry
    while registration.state is RegistrationState.TRYING and (waited := time.monotonic() - started) < seconds:
        time.sleep(min(1, POLL_SECONDS + waited / 10))  # a long check is not asked for so often
        loaded = services.storage.load_registration(entry.name, entry.release, entry.namespace)
        registration = loaded or registration
    return registration


def _make_taken_problem(registration: Registration) -> ReleaseTaken:
    reference = registration.entry.reference
    return ReleaseTaken(f"{reference} exists already, and releases never change; choose another release name")
