"""Puts the Flask application together."""

from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (
    access,
    archives,
    audits,
    docs,
    events,
    health,
    images,
    jobs,
    keys,
    menu,
    metrics,
    mlflow,
    models,
    schedules,
    trends,
    webhooks,
    weights,
)
from api.examples import show_examples
from api.openapi import describe_api
from api.page import audits as audit_page
from api.page import views as page
from api.problems import register_problems
from api.request_ids import follow_requests
from api.services import connect
from shared.log import configure_logging
from shared.settings import Settings
from shared.tracing import trace_process


def create_app(settings: Settings) -> Flask:
    """The API as a WSGI application; it starts whether or not Redis and S3 answer yet."""
    configure_logging(settings)
    app = Flask("api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.extensions["archetype"] = connect(settings)
    if settings.proxies:
        count = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    register_problems(app)
    for module in (
        jobs, audits, trends, schedules, mlflow, images, archives, menu, models, weights, events, keys, webhooks,
        health, docs,
    ):  # fmt: skip
        app.register_blueprint(module.blueprint)
    for pages in (page, audit_page):
        app.register_blueprint(pages.blueprint)
    metrics.watch(app)
    follow_requests(app)
    access.guard(app)
    app.extensions["openapi"] = describe_api(app, show_examples())
    if trace_process(settings, "archetype-api"):
        FlaskInstrumentor().instrument_app(app)  # type: ignore[no-untyped-call]
    return app
