"""Sends the spans of this process to an OpenTelemetry collector."""

import ssl
from pathlib import Path
from typing import Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from requests.adapters import HTTPAdapter

from archetype.version import VERSION
from shared.process.loopback import is_loopback
from shared.settings import Settings

EXPORT_SECONDS = 5
"""Time limit of one export to the collector."""


def export_traces(settings: Settings, endpoint: str, name: str) -> None:
    """Sends all spans from now on to a collector.

    Args:
        settings: The settings.
        endpoint: The address of the collector.
        name: Name of the process in traces.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": VERSION}))
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=EXPORT_SECONDS, session=open_session(url, settings.ca_bundle))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    BotocoreInstrumentor().instrument()  # type: ignore[no-untyped-call]


def open_session(url: str, ca_bundle: Path | None) -> requests.Session:
    """Returns an HTTP session for a collector.

    Args:
        url: The address of the collector. If it is on this machine, no proxy is used, whatever the environment says.
        ca_bundle: File with CA certificates that are accepted besides those of the system.
    """
    session = requests.Session()
    session.trust_env = not is_loopback(url)
    if ca_bundle is not None:
        session.mount("https://", _Adapter(ca_bundle))
    return session


class _Adapter(HTTPAdapter):
    """Accepts the certificates of a file in addition to those of the system."""

    def __init__(self, ca_bundle: Path) -> None:
        self._context = ssl.create_default_context()
        self._context.load_verify_locations(ca_bundle)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        return super().proxy_manager_for(*args, **options, ssl_context=self._context)
