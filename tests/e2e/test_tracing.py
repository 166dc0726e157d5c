"""One trace from the request to the store, as a collector gets it."""

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.local import run_stack
from shared.settings import Settings

Told = tuple[str, str, bytes]
"""Service, name and trace of a span."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Told]]]:
    """An OpenTelemetry collector: its address, and what it was told."""
    told: list[Told] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
                for scope in resource.scope_spans:
                    told.extend((facts["service.name"], span.name, span.trace_id) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


def test_a_job_is_one_trace_through_api_worker_and_store(tmp_path: Path, collector: tuple[str, list[Told]]) -> None:
    address, told = collector
    body = {"method": "class_model", "model": "shapes", "targets": [0], "params": {"steps": 2}}
    with run_stack(tmp_path, Settings(otlp_endpoint=address)) as stack:
        answer = httpx2.post(f"{stack.url}/v1/jobs", json=body, headers={"Prefer": "wait=60"}, timeout=90)
        assert answer.json()["state"] == "succeeded"
        wanted = {
            ("archetype-api", "POST /v1/jobs"), ("archetype-api", "S3.PutObject"),
            ("archetype-worker", "share"), ("archetype-worker", "S3.PutObject"),
        }  # fmt: skip
        limit = time.monotonic() + 30
        while not any(
            wanted <= {(service, name) for service, name, one in told if one == trace} for _, _, trace in told
        ):
            assert time.monotonic() < limit, sorted({(service, name) for service, name, _ in told})
            time.sleep(0.5)
