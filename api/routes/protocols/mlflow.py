"""Webhooks of an MLflow model registry, which import and audit registered versions, and the list of these versions.

MLflow signs the delivery id, the timestamp and the body, joined by dots, with HMAC-SHA256, and sends the signature in
Base64 after `v1,` (mlflow.org/docs/latest/ml/webhooks, read in November 2026).
"""

import base64
import hashlib
import hmac
import re
import time
from typing import Any

from flask import Blueprint, Response, request
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import describes
from api.http.parsing import read_json
from api.http.responses import make_json_response
from api.services.mlflow.import_versions import list_imports
from api.services.trigger_audits import RegistryEventResult, announce_registered_version
from archetype.contract.api_key import Scope
from archetype.contract.job import Document
from archetype.contract.problem import FieldError
from archetype.contract.protocols.mlflow_import import ImportedVersions
from shared.errors import Forbidden, Unauthorized
from shared.validation.pydantic_errors import explain

blueprint = Blueprint("mlflow", __name__, url_prefix="/v1/registry")

MAX_AGE_SECONDS = 300
"""An older message is refused: it may be a recorded one that is sent again."""

TIMESTAMP = re.compile(r"[0-9]{1,12}")

SUPPORTED_EVENTS = {("model_version", "created"), ("model_version_alias", "created")}
"""Entities and actions of events that start audits. Other events are accepted and ignored."""


class ModelVersion(Document):
    """The data of an event about a version of a model."""

    name: str = Field(examples=["fruit"])
    version: str = Field(examples=["3"])
    alias: str | None = None


class RegistryEvent(Document):
    """An event of MLflow."""

    model_config = ConfigDict(frozen=True, extra="allow")

    entity: str = Field(examples=["model_version"])
    action: str = Field(examples=["created"])
    data: dict[str, Any] = Field(default={}, examples=[{"name": "fruit", "version": "3"}])


@blueprint.post("/mlflow")
@describes(
    "Receive an event of a registry",
    body=RegistryEvent,
    responses={202: RegistryEventResult},
    problems=(400, 401, 403, 411, 413, 415, 422, 429, 503),
)
def post_event() -> Response:
    """Receives a signed webhook of MLflow.

    A version that was created or got an alias is audited under the schedules of its model.
    """
    services = get_services()
    check_signature(services.settings.mlflow_secret)
    try:
        event = RegistryEvent.model_validate(read_json())
        if (event.entity, event.action) not in SUPPORTED_EVENTS:
            return make_json_response(RegistryEventResult(), 202)
        version = ModelVersion.model_validate(event.data)
    except ValidationError as error:
        raise explain(error, ModelVersion if error.title == "ModelVersion" else RegistryEvent) from error
    return make_json_response(announce_registered_version(version.name, version.version, services), 202)


@blueprint.get("/mlflow")
@describes(
    "List versions of a registry (operators)", scope=Scope.OPERATE, responses={200: ImportedVersions}, problems=(503,)
)
def list_versions() -> Response:
    """Lists the versions that were imported, wait for their import, or were refused, with the reason; newest first.

    They belong to the tenant of the registry; other tenants get an empty list.
    """
    services = get_services()
    return make_json_response(list_imports(caller(), services))


def check_signature(secret: SecretStr | None) -> None:
    """Checks that MLflow has signed the request, recently.

    Raises:
        Forbidden: No registry is configured.
        Unauthorized: The signature or the timestamp is not valid.
    """
    if secret is None:
        raise Forbidden("no registry is configured; the operator sets its secret with ARCHETYPE_MLFLOW_SECRET")
    signature = request.headers.get("X-MLflow-Signature", "")
    delivery_id, timestamp = (request.headers.get(f"X-MLflow-{name}", "") for name in ("Delivery-Id", "Timestamp"))
    message = f"{delivery_id}.{timestamp}.".encode() + request.get_data(cache=True)
    digest = hmac.new(secret.get_secret_value().encode(), message, hashlib.sha256).digest()
    if not hmac.compare_digest(signature.encode(), b"v1," + base64.b64encode(digest)):
        field = FieldError(field="X-MLflow-Signature", detail="not the signature of this message")
        raise Unauthorized("the message is not signed with the secret of this registry", field)
    if not TIMESTAMP.fullmatch(timestamp) or abs(time.time() - int(timestamp)) > MAX_AGE_SECONDS:
        field = FieldError(field="X-MLflow-Timestamp", detail="too old, or in the future", given=timestamp[:40])
        raise Unauthorized(
            f"the timestamp is more than {MAX_AGE_SECONDS} seconds from now; check the clocks of both machines", field
        )
