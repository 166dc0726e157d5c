"""A stand-in of an MLflow server for tests: versions, artifacts and tags in memory. It can be slow, down or hostile.

`make integrations` runs the same with MLflow itself.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class StandIn:
    """The content of the server.

    Attributes:
        places: The URI of the artifacts of each version, by model and version.
        files: Artifacts by path.
        tags: Tags of each version.
        posts: Path and body of every other call that writes.
        fails: Whether every call is answered with 503.
        page: Most versions in an answer.
        url: Its address.
    """

    page: int = 1000
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    posts: list[tuple[str, Any]] = field(default_factory=list)
    fails: bool = False
    url: str = ""

    def add(self, model: str, version: str, files: dict[str, bytes], *, uri: str | None = None) -> None:
        """Adds a version with files below its folder."""
        folder = f"0/{model}-{version}/artifacts/weights"
        self.places[model, version] = uri or f"mlflow-artifacts:/{folder}"
        self.files |= {f"{folder}/{name}": data for name, data in files.items()}

    def list_folder(self, folder: str) -> list[dict[str, Any]]:
        below = [path.removeprefix(f"{folder}/") for path in self.files if path.startswith(f"{folder}/")]
        names = dict.fromkeys(path.partition("/")[0] for path in below)
        return [
            {"path": name, "is_dir": True}
            if name not in below
            else {"path": name, "is_dir": False, "file_size": len(self.files[f"{folder}/{name}"])}
            for name in names
        ]

    def get(self, path: str, query: dict[str, str]) -> Any:
        """The answer to a GET: JSON or bytes; None for 404."""
        if path == ARTIFACTS:
            return {"files": self.list_folder(query["path"])}
        if path.startswith(f"{ARTIFACTS}/"):
            return self.files.get(unquote(path.removeprefix(f"{ARTIFACTS}/")))
        if path.endswith("/model-versions/get-download-uri"):
            uri = self.places.get((query["name"], query["version"]))
            return None if uri is None else {"artifact_uri": uri}
        if path.endswith("/model-versions/search"):
            name = query["filter"].partition("'")[2].removesuffix("'")
            versions = [{"name": m, "version": v} for m, v in reversed(self.places) if m == name]
            start = int(query.get("page_token", "0"))
            end = start + min(int(query["max_results"]), self.page)
            return {"model_versions": versions[start:end], "next_page_token": str(end) if end < len(versions) else ""}
        if path.endswith("/model-versions/get"):
            return {"model_version": {"run_id": f"run-{query['version']}"}}
        if path.endswith("/runs/get"):
            return {"run": {"info": {"artifact_uri": f"mlflow-artifacts:/0/{query['run_id']}/artifacts"}}}
        return None

    def post(self, path: str, body: Any) -> None:
        if path.endswith("/model-versions/set-tag"):
            self.tags.setdefault((body["name"], body["version"]), {})[body["key"]] = body["value"]
        else:
            self.posts.append((path, body))


@contextmanager
def run_stand_in(port: int = 0) -> Iterator[StandIn]:
    """Runs the server on a port of the loopback."""
    content = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(content.get(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not content.fails:
                content.post(self.path, json.loads(body))
            self._answer({})

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if not content.fails:
                content.files[unquote(self.path.removeprefix(f"{ARTIFACTS}/"))] = data
            self._answer({})

        def _answer(self, body: Any) -> None:
            status = 503 if content.fails else 404 if body is None else 200
            data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    content.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield content
    finally:
        server.shutdown()
        server.server_close()
