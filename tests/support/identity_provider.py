"""An OIDC identity provider on a free port, which publishes one key, or answers as a test wants."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_ID = "one"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"

Answer = Callable[[BaseHTTPRequestHandler], None]


def make_private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def describe_key(private_key: rsa.RSAPrivateKey, **changes: Any) -> dict[str, Any]:
    """The public key as the provider publishes it; members that are None are left out."""
    document = jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key(), as_dict=True)
    document = document | {"kid": KEY_ID, "use": "sig"} | changes
    return {name: value for name, value in document.items() if value is not None}


@dataclass
class IdentityProvider:
    """A provider's address and its private key.

    Attributes:
        url: Its address, which is also the issuer of its tokens.
        private_key: The key that signs its tokens.
        answers: Answers by path that replace the usual ones: JSON documents, bytes, or functions.
        requests: The paths that were asked for.
    """

    url: str
    private_key: rsa.RSAPrivateKey
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def sign(
        self,
        changes: dict[str, Any] | None = None,
        *,
        key: Any = None,
        algorithm: str = "RS256",
        kid: Any = KEY_ID,
    ) -> str:
        """Signs a token that is valid for a minute, with other claims, another key or another algorithm on demand."""
        claims = {
            "iss": self.url,
            "aud": "archetype",
            "sub": "ann",
            "tenant": "vision",
            "scope": "openid archetype:read",
            "exp": time.time() + 60,
        } | (changes or {})
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode(claims, key or self.private_key, algorithm=algorithm, headers=headers)

    def publish(self, *keys: dict[str, Any]) -> None:
        """Publishes other keys."""
        self.answers[KEYS] = {"keys": list(keys)}


@contextmanager
def run_identity_provider(context: ssl.SSLContext | None = None) -> Iterator[IdentityProvider]:
    """Runs a provider, over TLS if there is a context."""
    private_key = make_private_key()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.requests.append(self.path)
            usual = {DISCOVERY: {"jwks_uri": f"{provider.url}{KEYS}"}, KEYS: {"keys": [describe_key(private_key)]}}
            answer = (usual | provider.answers)[self.path]
            if callable(answer):
                answer(self)
                return
            send(200, answer)(self)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    provider = IdentityProvider(f"{scheme}://127.0.0.1:{server.server_port}", private_key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def send(status: int, document: Any, **headers: str) -> Answer:
    """An answer with a status and a document."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drip(data: bytes, *, end: threading.Event) -> Answer:
    """An answer that sends a byte every 0.2 seconds, and never ends before `end` is set."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if end.wait(0.2):
                    return
            end.wait(60)
        except OSError:
            pass

    return answer
