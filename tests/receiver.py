"""Somebody who takes webhooks: an HTTP server that can be away, slow, or of another opinion."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """An HTTP server that takes messages, and answers as it is told."""

    port: int
    answer: int = 200
    slow_seconds: float = 0
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                time.sleep(receiver.slow_seconds)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.paths.append(self.path)
                if receiver.answer == 200:
                    receiver.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.answer)
                if receiver.answer == 302:
                    self.send_header("Location", receiver.url + "-elsewhere")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.taken]

    def wait_for(self, count: int, seconds: float = 30) -> None:
        limit = time.monotonic() + seconds
        while len(self.taken) < count:
            assert time.monotonic() < limit, f"{len(self.taken)} of {count} messages came"
            time.sleep(0.05)
