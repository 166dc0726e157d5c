"""Models: list and get the models of the catalogue, register releases, and list registrations."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import describes
from api.http.parsing import MAX_RELEASE_BYTES, RELEASE_LIMITS, read_json, read_wait
from api.http.responses import make_json_response
from api.services import describe_model
from api.services.describe_model import Models, ModelView
from api.services.register_model import list_registrations, register, wait_for_release_check
from api.services.results.view_atlas import Atlas, find_atlas
from archetype.contract.api_key import Scope
from archetype.contract.registration import NewRelease, Registrations
from shared.errors import RefusedRelease
from shared.storage.documents import Registration, RegistrationState
from shared.validation.request import parse_release

blueprint = Blueprint("models", __name__, url_prefix="/v1")

DEFAULT_WAIT_SECONDS = 30
"""How long to wait for the worker that tests a release, without the header `Prefer`."""


@blueprint.get("/models")
@describes("List models", scope=Scope.READ, responses={200: Models}, problems=(503,))
def list_models() -> Response:
    """Lists every model of the catalogue."""
    return make_json_response(describe_model.list_models(caller().tenant, get_services()))


@blueprint.get("/models/<reference>")
@describes("Get a model", scope=Scope.READ, responses={200: ModelView}, problems=(404, 503))
def get_model(reference: str) -> Response:
    """Returns the releases, input size, class names and layers of a model, by `name` or `name@release`."""
    return make_json_response(describe_model.find_model(reference, caller().tenant, get_services()))


@blueprint.get("/models/<reference>/atlas")
@describes("Get the atlas of a model", scope=Scope.READ, responses={200: Atlas}, problems=(404, 503))
def get_atlas(reference: str) -> Response:
    """Returns the newest class visualization of every class that was drawn, by `name` or `name@release`."""
    return make_json_response(find_atlas(reference, caller().tenant, get_services()))


@blueprint.get("/registrations")
@describes("List registered releases (operators)", scope=Scope.OPERATE, responses={200: Registrations}, problems=(503,))
def get_registrations() -> Response:
    """Lists the releases that the caller has registered, newest first; those that were refused with the reason."""
    return make_json_response(list_registrations(caller(), get_services()))


@blueprint.post("/models")
@describes(
    "Register a release (operators)",
    scope=Scope.OPERATE,
    body=NewRelease,
    headers={"Prefer": "`wait=N`: respond when a worker has tested the release, or after N seconds. Default: 30."},
    responses={201: ModelView, 202: Registration},
    problems=(400, 409, 411, 413, 415, 422, 429, 503),
)
def register_release() -> Response:
    """Stores a release, which a worker tests by loading it once.

    Returns 201 if the release works, 422 with the reason if it does not, and 202 if the test has not ended yet.
    """
    services = get_services()
    registration = register(parse_release(read_json(RELEASE_LIMITS, max_bytes=MAX_RELEASE_BYTES)), caller(), services)
    seconds = read_wait(services.settings.max_wait_seconds, default=DEFAULT_WAIT_SECONDS)
    registration = wait_for_release_check(registration, services, seconds)
    entry = registration.entry
    location = f"/v1/models/{entry.reference}"
    if registration.state is RegistrationState.ACCEPTED:
        services.registered_releases.invalidate()
        releases = services.catalogue.of(caller().tenant).releases(entry.name)
        model = describe_model.describe_release(entry, releases, services)
        return make_json_response(model, 201, location=location)
    if registration.error is not None:
        raise RefusedRelease(registration.error.detail, *registration.error.errors)
    return make_json_response(registration, 202, location=location)
