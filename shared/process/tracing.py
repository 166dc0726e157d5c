"""OpenTelemetry traces: one trace contains the request, the worker's computation and the calls to the store."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span
from requests.adapters import HTTPAdapter

from archetype.version import VERSION
from shared.process.loopback import is_loopback
from shared.settings import Settings

EXPORT_SECONDS = 5
"""Time limit of one export to the collector."""

tracer = trace.get_tracer("archetype", VERSION)
"""Creates spans. They are not exported before `configure_tracing` was called with a collector."""


def configure_tracing(settings: Settings, name: str) -> bool:
    """Exports the spans of this process, if the settings name a collector.

    Args:
        settings: The settings.
        name: Name of the process in traces.

    Returns:
        Whether spans are exported.
    """
    if settings.otlp_endpoint is None:
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": VERSION}))
    url = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=EXPORT_SECONDS, session=open_session(url, settings.ca_bundle))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    BotocoreInstrumentor().instrument()  # type: ignore[no-untyped-call]
    return True


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


def inject_trace() -> dict[str, str]:
    """The context of the current trace, with which another process can continue it."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def continue_trace(name: str, carrier: Mapping[str, str], **attributes: str | int) -> Span:
    """Starts a span in the trace of another process. The caller ends the span.

    Args:
        name: Name of the span.
        carrier: The context from `inject_trace`.
        attributes: Attributes of the span.
    """
    return tracer.start_span(name, context=extract(carrier), attributes=attributes)


@contextmanager
def use_span(span: Span | None) -> Iterator[None]:
    """Makes a span the current one inside the `with` block, without ending it; None changes nothing."""
    if span is None:
        yield
        return
    with trace.use_span(span, end_on_exit=False):
        yield
