"""Builds the Flask application."""

from functools import cache

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.dependencies import connect
from api.http.auth import register_auth
from api.http.metrics import register_metrics
from api.http.openapi import describe_api
from api.http.openapi_examples import build_examples
from api.http.parsing import limit_bodies
from api.http.problems import register_problems
from api.http.request_ids import register_request_ids
from api.routes import (
    archives,
    audits,
    docs,
    events,
    health,
    images,
    jobs,
    keys,
    methods,
    models,
    schedules,
    webhooks,
    weights,
)
from api.routes.protocols import kserve, mlflow
from api.web import audits as audit_pages
from api.web import job_images, job_views, pages, sign_in, views
from api.web.service import page as service_page
from archetype.contract.problem import FieldError
from shared.errors import InvalidRequest
from shared.process.answer_time import set_answer_seconds
from shared.process.logging import configure_logging
from shared.process.tracing import configure_tracing
from shared.settings import Settings

ROUTES = (
    jobs,
    audits,
    schedules,
    mlflow,
    images,
    archives,
    methods,
    models,
    kserve,
    weights,
    events,
    keys,
    webhooks,
    health,
    docs,
)
PAGE_VIEWS = (views, job_views, job_images)
"""Modules that add their routes to the blueprint of the pages when they are imported."""

PAGES = (pages, audit_pages, service_page, sign_in)

READS = frozenset({"GET", "HEAD"})
READ_SECONDS = 0.8
"""How long a read waits for an answer of Redis or the store, so that its client gets one within a second."""


def refuse_path_prefix() -> None:
    """Refuses requests of a proxy that serves the API below a path.

    Raises:
        InvalidRequest: The proxy has removed a prefix from the path. Links in responses would not have it.
    """
    prefix = request.headers.get("X-Forwarded-Prefix", "").strip()
    if prefix.strip("/"):
        field = FieldError(field="X-Forwarded-Prefix", detail="not supported", given=prefix[:80], allowed="/")
        text = "the proxy serves the API below a path, which is not supported; give it a host name or a port of its own"
        raise InvalidRequest(text, field)


def limit_waits(app: Flask) -> None:
    """Makes reads wait shortly for Redis and the store. Writes wait longer: they may happen without an answer."""

    @app.before_request
    def begin() -> None:
        set_answer_seconds(READ_SECONDS if request.method in READS else None)

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        set_answer_seconds(None)


def create_app(settings: Settings) -> Flask:
    """Returns the API as a WSGI application. It starts even if Redis and S3 do not answer yet."""
    configure_logging(settings)
    app = Flask("api", static_folder=None)
    limit_bodies(app)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.extensions["archetype"] = connect(settings)
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
        app.before_request(refuse_path_prefix)
    register_problems(app)
    for module in (*ROUTES, *PAGES):
        app.register_blueprint(module.blueprint)
    limit_waits(app)
    register_metrics(app)
    register_request_ids(app)
    register_auth(app)
    app.extensions["openapi"] = cache(lambda: describe_api(app, build_examples()))
    if configure_tracing(settings, "archetype-api"):
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        FlaskInstrumentor().instrument_app(app)  # type: ignore[no-untyped-call]
    return app
