"""A receiver of webhooks for tests: an HTTP server that can be stopped, slow, or answer with an error."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.waiting import wait_until


@dataclass
class Receiver:
    """An HTTP server that records webhook messages.

    Attributes:
        answer: The status of all responses.
        headers: Further headers of all responses.
        slow_seconds: Delay before each response.
        taken: Headers (lower case) and body of each message that was answered with 200.
        paths: The path of each request.
    """

    port: int
    answer: int = 200
    slow_seconds: float = 0
    headers: dict[str, str] = field(default_factory=dict)
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
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
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

    def wait_for(self, count: int, seconds: float = 120) -> None:
        """Waits until a number of messages has arrived."""
        wait_until(lambda: len(self.taken) >= count, seconds, message=lambda: f"{len(self.taken)} of {count} messages")
