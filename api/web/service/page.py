"""The page about the service: webhooks and releases of the tenant; workers, queue and keys for the operator."""

from flask import Blueprint, Response, redirect, render_template, url_for

from api.dependencies import get_services
from api.http.auth import caller, check_operator, needs
from api.routes.keys import find_keys, revoke
from api.routes.webhooks import find_delivery
from api.services.register_model import list_registrations
from api.web.layout import set_up_pages
from archetype.contract.api_key import Scope
from shared.state.queue_depth import read_lanes

blueprint = set_up_pages(Blueprint("service_page", __name__, template_folder="../templates"))

MAX_DELIVERIES = 50
"""Number of webhook deliveries that the page lists."""


@blueprint.get("/service")
@needs(Scope.READ)
def show_service() -> str:
    """Shows what the caller may know of the service."""
    services, user = get_services(), caller()
    context = {"user": user, "deliveries": services.outbox.list(user.tenant, MAX_DELIVERIES)}
    if Scope.OPERATE in user.scopes:
        context["registrations"] = list_registrations(user, services).items
    if user.root:
        context |= {
            "workers": services.worker_registry.entries(),
            "lanes": read_lanes(services.redis_client),
            "keys": find_keys(services),
        }
    return render_template("page/service.html", **context)


@blueprint.post("/service/deliveries/<delivery_id>/replay")
@needs(Scope.SUBMIT)
def replay_delivery(delivery_id: str) -> Response:
    """Sends a webhook again, and shows the page again."""
    get_services().outbox.replay(find_delivery(delivery_id))
    return redirect(url_for("service_page.show_service", _anchor="webhooks"), 303)  # type: ignore[return-value]


@blueprint.post("/service/keys/<key_id>/revoke")
@needs(Scope.OPERATE)
def revoke_key(key_id: str) -> Response:
    """Revokes a key, and shows the page again."""
    check_operator()
    revoke(key_id, get_services())
    return redirect(url_for("service_page.show_service", _anchor="keys"), 303)  # type: ignore[return-value]
