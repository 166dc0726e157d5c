"""Traces, where a collector is named: one from the request through the queue and the worker to the store."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span

from shared.settings import Settings
from shared.version import VERSION

EXPORT_SECONDS = 5

tracer = trace.get_tracer("archetype", VERSION)
"""Makes spans that go nowhere until `trace_process` was called with a collector."""


def trace_process(settings: Settings, name: str) -> bool:
    """From now on, what this process does is told to the collector, if the settings name one; whether they do."""
    if settings.otlp_endpoint is None:
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": VERSION}))
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    BotocoreInstrumentor().instrument()  # type: ignore[no-untyped-call]
    return True


def carry() -> dict[str, str]:
    """What lets another process go on with the trace of this moment."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def go_on(name: str, carrier: Mapping[str, str], **attributes: str | int) -> Span:
    """A span of the trace that another process began; whoever starts it ends it."""
    return tracer.start_span(name, context=extract(carrier), attributes=attributes)


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """What is done here belongs to the span."""
    if span is None:
        yield
        return
    with trace.use_span(span, end_on_exit=False):
        yield
