"""Spans on their way to a collector."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
import requests
import trustme
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from shared.process.trace_export import open_session


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A collector with TLS: its URL, the file of the CA that signed its certificate, and the received paths."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            received.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/v1/traces", tmp_path / "ca.pem", received
    server.shutdown()
    server.server_close()


def export(url: str, ca_bundle: Path | None) -> SpanExportResult:
    """Exports one span."""
    exporter = OTLPSpanExporter(url, timeout=20, session=open_session(url, ca_bundle))
    provider = TracerProvider()
    span = provider.get_tracer("test").start_span("request")
    span.end()
    result = exporter.export([cast("ReadableSpan", span)])
    exporter.shutdown()
    return result


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_spans_reach_a_collector_on_this_machine_with_a_certificate_of_a_private_authority_and_without_a_proxy(
    collector: tuple[str, Path, list[str]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ca_bundle, received = collector
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert export(url, ca_bundle) is SpanExportResult.SUCCESS
    assert received == ["/v1/traces"]


def test_a_collector_with_a_certificate_of_an_unknown_authority_gets_no_spans(
    collector: tuple[str, Path, list[str]],
) -> None:
    url, _, received = collector
    with pytest.raises(requests.exceptions.SSLError):
        open_session(url, None).post(url, data=b"", timeout=20)
    assert received == []
