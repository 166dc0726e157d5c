"""A collector receives one trace for a request, from the API to the worker and the store."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.local import run_stack
from shared.settings import Settings
from tests.support.waiting import wait_until

Span = tuple[str, str, bytes]
"""Service, name and trace id of a span."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Span]]]:
    """An OpenTelemetry collector: its address and the received spans."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend((attributes["service.name"], span.name, span.trace_id) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    server.server_close()


def test_a_job_is_one_trace_through_api_worker_and_store(tmp_path: Path, collector: tuple[str, list[Span]]) -> None:
    address, spans = collector
    body = {"method": "class_model", "model": "shapes", "targets": [0], "params": {"steps": 2}}
    with run_stack(tmp_path, Settings(otlp_endpoint=address)) as stack:
        response = httpx2.post(f"{stack.url}/v1/jobs", json=body, headers={"Prefer": "wait=60"}, timeout=90)
        assert response.json()["state"] == "succeeded"
        expected = {
            ("archetype-api", "POST /v1/jobs"),
            ("archetype-api", "S3.PutObject"),
            ("archetype-worker", "share"),
            ("archetype-worker", "S3.PutObject"),
        }

        def is_complete() -> bool:
            traces = {trace for _, _, trace in spans}
            names = [{(service, name) for service, name, other in spans if other == trace} for trace in traces]
            return any(expected <= spans_of_trace for spans_of_trace in names)

        wait_until(is_complete, 30, message=lambda: str(sorted({(service, name) for service, name, _ in spans})))
