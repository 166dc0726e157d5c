"""OpenTelemetry traces: one trace contains the request, the worker's computation and the calls to the store."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span

from archetype.version import VERSION
from shared.settings import Settings

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
    from shared.process.trace_export import export_traces  # loads as much as all else

    export_traces(settings, settings.otlp_endpoint, name)
    return True


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
