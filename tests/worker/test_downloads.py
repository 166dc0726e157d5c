"""Weights are fetched once, whole, and are what they should be; what goes wrong is said."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.errors import UnloadableModel
from worker import downloads
from worker.downloads import Cache, Source, open_url

DATA = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `/weights`; breaks off after so many bytes as often as it is told."""

    breaks = 0
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path != "/weights":
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.server.breaks -= 1
        self.wfile.write(DATA[start : start + 1_000_000] if self.server.breaks >= 0 else DATA[start:])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    running = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def source(server: Server, path: str = "/weights", digest: str = "") -> Source:
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    return Source("the weights", lambda: open_url(url), url, digest)


def test_a_file_is_fetched_once_and_lies_under_its_digest(server: Server, tmp_path: Path) -> None:
    cache, seen = Cache(tmp_path), []
    path = cache.fetch(source(server), lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "sha256" / DIGEST
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert cache.fetch(source(server, digest=DIGEST[:8])) == path
    assert server.asked == 1
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_with_a_known_digest_is_found_wherever_it_came_from(server: Server, tmp_path: Path) -> None:
    Cache(tmp_path).fetch(source(server))
    again = Source("the weights", lambda: iter(()), "elsewhere", DIGEST)
    assert Cache(tmp_path).fetch(again).read_bytes() == DATA


def test_what_was_damaged_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    path = Cache(tmp_path).fetch(source(server))
    path.write_bytes(b"damaged")
    assert Cache(tmp_path).fetch(source(server)).read_bytes() == DATA
    assert server.asked == 2


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UnloadableModel, match="should begin with 0000"):
        Cache(tmp_path).fetch(source(server, digest="00000000"))
    assert not list((tmp_path / "sha256").iterdir())
    assert not list(tmp_path.rglob("*.partial"))


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    assert Cache(tmp_path).fetch(source(server)).read_bytes() == DATA
    assert server.asked == 3


def test_one_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.breaks = 99
    with pytest.raises(UnloadableModel, match="cannot be fetched"):
        Cache(tmp_path).fetch(source(server))
    assert server.asked == 3


def test_without_the_internet_it_is_said_what_to_do(server: Server, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/weights"
    with pytest.raises(UnloadableModel, match="connect the worker to the internet"):
        Cache(tmp_path).fetch(Source("the weights", lambda: open_url(nowhere), nowhere))
    with pytest.raises(UnloadableModel, match="404"):
        Cache(tmp_path).fetch(source(server, "/none"))


def test_more_than_the_limit_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UnloadableModel, match="more than the 1000000 bytes"):
        Cache(tmp_path, 1_000_000).fetch(source(server))


def test_whoever_is_told_may_stop_it(server: Server, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises(UnloadableModel):
        Cache(tmp_path).fetch(source(server), stop)
    assert not list(tmp_path.rglob("*.partial"))


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=lambda: Cache(tmp_path).fetch(source(server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == 1


def test_what_may_change_is_fetched_each_time_unless_its_digest_is_known(tmp_path: Path) -> None:
    stored = {"file": b"old"}
    changing = Source("a key", lambda: iter([(stored["file"], 0)]))
    assert Cache(tmp_path).fetch(changing).read_bytes() == b"old"
    stored["file"] = b"new"
    assert Cache(tmp_path).fetch(changing).read_bytes() == b"new"
    known = Source("a key", lambda: iter([(b"other", 0)]), digest=hashlib.sha256(b"old").hexdigest())
    assert Cache(tmp_path).fetch(known).read_bytes() == b"old"


def test_who_waits_for_another_process_may_stop_waiting(server: Server, tmp_path: Path) -> None:
    cache, wanted = Cache(tmp_path), source(server)

    def stop(_done: int, _total: int) -> None:
        raise TimeoutError("waited enough")

    cache.fetch(wanted)
    with cache._locked(cache._place(wanted), downloads.ignore), pytest.raises(UnloadableModel, match="waited enough"):
        cache.fetch(wanted, stop)
