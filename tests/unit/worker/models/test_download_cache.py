"""The download cache: files are downloaded once and verified, and errors say what to do."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unavailable, UnloadableModel
from worker.models import download_cache
from worker.models.download_cache import DownloadCache, Source, open_url

DATA = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `/weights`, and counts requests.

    Attributes:
        breaks: Number of responses that end early.
        asked: Number of requests.
    """

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
    monkeypatch.setattr(download_cache, "PAUSE_SECONDS", 0.001)
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


def test_a_file_is_downloaded_once_and_stored_under_its_digest(server: Server, tmp_path: Path) -> None:
    cache, reports = DownloadCache(tmp_path), []
    path = cache.fetch(source(server), lambda done, total: reports.append((done, total)))
    assert path == tmp_path / "sha256" / DIGEST
    assert path.read_bytes() == DATA
    assert reports[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert cache.fetch(source(server, digest=DIGEST[:8])) == path
    assert server.asked == 1
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("place", ["elsewhere", None])
def test_a_digest_alone_does_not_lead_to_a_cached_file_of_another_place(
    server: Server, tmp_path: Path, place: str | None
) -> None:
    DownloadCache(tmp_path).fetch(source(server))
    other = Source("weights of another tenant", lambda: iter([(b"mine", 0)]), place, DIGEST)
    assert DownloadCache(tmp_path).find(other) is None
    with pytest.raises(UnloadableModel, match="should begin with"):
        DownloadCache(tmp_path).fetch(other)
    same = Source("weights of another tenant", lambda: iter([(DATA, 0)]), place, DIGEST)
    assert DownloadCache(tmp_path).fetch(same).read_bytes() == DATA
    assert DownloadCache(tmp_path).find(other) is not None


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    path = DownloadCache(tmp_path).fetch(source(server))
    path.write_bytes(b"damaged")
    assert DownloadCache(tmp_path).fetch(source(server)).read_bytes() == DATA
    assert server.asked == 2


def test_a_download_with_a_wrong_digest_is_refused_and_not_stored(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UnloadableModel, match="should begin with 0000"):
        DownloadCache(tmp_path).fetch(source(server, digest="00000000"))
    assert not list((tmp_path / "sha256").iterdir())
    assert not list(tmp_path.rglob("*.partial"))


def test_a_broken_download_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    assert DownloadCache(tmp_path).fetch(source(server)).read_bytes() == DATA
    assert server.asked == 3


def test_a_download_that_always_breaks_fails_after_three_attempts(server: Server, tmp_path: Path) -> None:
    server.breaks = 99
    with pytest.raises(UnloadableModel, match="cannot be fetched"):
        DownloadCache(tmp_path).fetch(source(server))
    assert server.asked == 3


def test_a_download_without_a_connection_says_what_to_do(server: Server, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/weights"
    with pytest.raises(UnloadableModel, match="connect the worker to the internet"):
        DownloadCache(tmp_path).fetch(Source("the weights", lambda: open_url(nowhere), nowhere))
    with pytest.raises(UnloadableModel, match="404"):
        DownloadCache(tmp_path).fetch(source(server, "/none"))


def test_a_file_larger_than_the_limit_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UnloadableModel, match="more than the 1000000 bytes"):
        DownloadCache(tmp_path, 1_000_000).fetch(source(server))


def test_a_progress_callback_that_raises_stops_the_download(server: Server, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises(UnloadableModel):
        DownloadCache(tmp_path).fetch(source(server), stop)
    assert not list(tmp_path.rglob("*.partial"))


def test_concurrent_requests_for_a_file_download_it_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=lambda: DownloadCache(tmp_path).fetch(source(server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == 1


def test_a_source_without_a_place_is_downloaded_each_time_unless_its_digest_is_known(tmp_path: Path) -> None:
    stored = {"file": b"old"}
    changing = Source("a key", lambda: iter([(stored["file"], 0)]))
    assert DownloadCache(tmp_path).fetch(changing).read_bytes() == b"old"
    stored["file"] = b"new"
    assert DownloadCache(tmp_path).fetch(changing).read_bytes() == b"new"
    known = Source("a key", lambda: iter([(b"other", 0)]), digest=hashlib.sha256(b"old").hexdigest())
    assert DownloadCache(tmp_path).fetch(known).read_bytes() == b"old"


def test_a_progress_callback_that_raises_stops_waiting_for_another_process(server: Server, tmp_path: Path) -> None:
    cache, weights = DownloadCache(tmp_path), source(server)

    def stop(_done: int, _total: int) -> None:
        raise TimeoutError("waited enough")

    cache.fetch(weights)
    with (
        cache._locked([cache._hash(weights.place or "").with_suffix(".lock")], download_cache.ignore),
        pytest.raises(UnloadableModel, match="waited enough"),
    ):
        cache.fetch(weights, stop)


def drip(clock: list[float], chunk: bytes, *, seconds: float, count: int = 10_000) -> Iterator[tuple[bytes, int]]:
    """Yields the same chunk again and again, each after so many seconds of a clock that the test turns."""
    for _ in range(count):
        clock[0] += seconds
        yield chunk, 0


def test_a_download_that_arrives_byte_by_byte_is_ended(tmp_path: Path) -> None:
    clock = [0.0]
    cache = DownloadCache(tmp_path, clock=lambda: clock[0])
    with pytest.raises(UnloadableModel, match="arrived in 60 s"):
        cache.fetch(Source("a slow file", lambda: drip(clock, b"x", seconds=5)))
    assert clock[0] < 2 * download_cache.MIN_SECONDS
    assert not list(tmp_path.rglob("*.partial"))


def test_a_download_that_stalls_after_a_fast_start_is_ended(tmp_path: Path) -> None:
    clock = [0.0]
    cache = DownloadCache(tmp_path, clock=lambda: clock[0])

    def stall() -> Iterator[tuple[bytes, int]]:
        yield from drip(clock, bytes(download_cache.MIN_BYTES), seconds=1, count=3)
        yield from drip(clock, b"", seconds=1)

    with pytest.raises(UnloadableModel, match="arrived in 60 s"):
        cache.fetch(Source("a file", stall))
    assert clock[0] < 3 * download_cache.MIN_SECONDS


def test_a_download_of_many_minutes_goes_on_while_enough_arrives(tmp_path: Path) -> None:
    clock = [0.0]
    cache = DownloadCache(tmp_path, clock=lambda: clock[0])
    chunk = bytes(download_cache.MIN_BYTES // 6)
    path = cache.fetch(Source("a large file", lambda: drip(clock, chunk, seconds=10, count=90)))
    assert path.stat().st_size == 90 * len(chunk)
    assert clock[0] == 900


def test_the_processes_of_a_machine_download_a_bounded_number_of_files_at_once(tmp_path: Path) -> None:
    clock = [0.0]
    cache = DownloadCache(tmp_path, clock=lambda: clock[0])
    reports = []

    def wait(done: int, total: int) -> None:
        reports.append((done, total))
        clock[0] += 1000

    def hold(number: int) -> Iterator[tuple[bytes, int]]:
        """Downloads a file, and within it another one, until all slots are taken."""
        if number:
            cache.fetch(Source(f"file {number - 1}", lambda: hold(number - 1)), wait)
        yield b"x", 1

    with pytest.raises(Unavailable, match="other processes of this machine"):
        cache.fetch(Source("the first file", lambda: hold(download_cache.MAX_DOWNLOADS)), wait)
    assert set(reports) == {(0, 0)}
    assert cache.fetch(Source("another file", lambda: iter([(b"x", 1)]))).read_bytes() == b"x"


def test_a_download_starts_again_after_its_process_was_killed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from worker.models.download_cache import DownloadCache, Source
def parts():
    yield b"half", 8
    print("started", flush=True)
    sys.stdin.read()
DownloadCache(Path(sys.argv[1])).fetch(Source("a file", parts, "place"))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
    assert len(list(tmp_path.rglob("*.partial"))) == 1
    whole = Source("a file", lambda: iter([(b"half", 8), (b"rest", 8)]), "place")
    assert DownloadCache(tmp_path).fetch(whole).read_bytes() == b"halfrest"
    assert not list(tmp_path.rglob("*.partial"))


def test_parts_of_files_that_killed_processes_left_are_deleted(tmp_path: Path) -> None:
    cache = DownloadCache(tmp_path)
    cache.fetch(Source("a file", lambda: iter([(b"x", 1)])))
    old, new = (tmp_path / "places" / f"{name}.partial" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"part")
    os.utime(old, (0, 0))
    cache.fetch(Source("another file", lambda: iter([(b"y", 1)])))
    assert (old.exists(), new.exists()) == (False, True)


def test_the_files_that_were_not_used_for_the_longest_time_make_room_for_new_ones(tmp_path: Path) -> None:
    cache = DownloadCache(tmp_path, max_total_bytes=25)

    def name(number: int) -> Source:
        return Source(f"file {number}", lambda: iter([(bytes([number]) * 10, 10)]), f"place {number}")

    first, second = cache.fetch(name(1)), cache.fetch(name(2))
    for path in (first, second):
        os.utime(path, (0, 0))
    assert cache.fetch(name(1)) == first  # which makes it the one that was used last
    third = cache.fetch(name(3))
    assert [path.exists() for path in (first, second, third)] == [True, False, True]
    assert cache.fetch(name(4)).exists()  # all others may be in use
    assert first.exists()
    assert cache.fetch(name(2)) == second  # downloaded again
