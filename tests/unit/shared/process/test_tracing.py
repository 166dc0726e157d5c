"""Trace contexts between processes."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

from shared.process.tracing import configure_tracing, continue_trace, inject_trace, use_span
from shared.settings import Settings
from tests.support.paths import ROOT

UNUSED = ("opentelemetry.exporter", "opentelemetry.instrumentation")


def test_spans_are_not_exported_without_a_collector() -> None:
    assert configure_tracing(Settings(), "test") is False


def test_a_span_continues_the_trace_of_another_process() -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        carrier = inject_trace()
    span = continue_trace("share", carrier, job_id="j")
    assert span.get_span_context().trace_id == request.get_span_context().trace_id
    with use_span(span):
        assert get_current_span() is span
    with use_span(None):
        assert get_current_span() is not span
    span.end()


@pytest.mark.parametrize("module", ["api.app", "api.scheduler", "worker.app", "worker.webhook_sender"])
def test_a_process_without_a_collector_does_not_load_what_sends_spans(module: str) -> None:
    program = f"import sys, {module}; print([name for name in sys.modules if name.startswith({UNUSED!r})])"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=paths, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"
