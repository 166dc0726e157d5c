"""A platform's day in a minute: clients that poll, listen and submit, all at once, while the workers have little to do.

python -m benchmarks.load --pollers 200 --listeners 20 --submitters 50 --seconds 60
"""

import argparse
import asyncio
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from deploy.local import run_stack
from shared.settings import Settings

BODY = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2, "extras": False}}
ANSWER_SECONDS = 30.0
WARM_UP_SECONDS = 5.0
"""Not timed: in the first second everybody connects to a service that has just been started. Errors count."""

POLL_SECONDS, SUBMIT_SECONDS = 1.0, 30.0
"""Between two polls of a client, and between two submissions."""


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        taken: Seconds of every answer, by what was asked.
        errors: What went wrong, and how often.
    """

    taken: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    events: int = 0

    def percentile(self, what: str, share: float) -> float:
        ordered = sorted(self.taken.get(what, [0.0]))
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def ask(http: httpx2.AsyncClient, seen: Seen, what: str, method: str, path: str, **more: Any) -> dict[str, Any]:
    """One call, timed; its answer, or nothing where it went wrong."""
    started = time.perf_counter()
    try:
        answer = await http.request(method, path, **more)
        answer.raise_for_status()
    except httpx2.HTTPError as error:
        seen.errors[f"{what}: {type(error).__name__} {error}"[:120]] += 1
        return {}
    seen.taken.setdefault(what, []).append(time.perf_counter() - started)
    return dict(answer.json())


class Poller:
    """Asks for one thing over one connection, and costs next to nothing: clients share the service's cores here."""

    def __init__(self, url: str, path: str, seen: Seen) -> None:
        self._place = urlsplit(url)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {self._place.netloc}\r\n\r\n".encode()
        self._seen = seen
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        """One call, timed from the moment it is sent, or the connection made, to its last byte."""
        started = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
            status = await asyncio.wait_for(self._exchange(*self._streams), ANSWER_SECONDS)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._seen.errors[f"poll: {type(error).__name__} {error}"[:120]] += 1
            self._streams = None
            return
        self._seen.taken.setdefault("poll", []).append(time.perf_counter() - started)
        if status != 200:
            self._seen.errors[f"poll: {status}"] += 1

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(" ", 2)[1])


async def repeat(call: Callable[[], Awaitable[object]], every: float, *, offset: float, until: float) -> None:
    """Calls again and again, at times that are spread over the clients."""
    await asyncio.sleep(offset)
    while time.monotonic() < until:
        began = time.monotonic()
        await call()
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def listen(http: httpx2.AsyncClient, seen: Seen, until: float) -> None:
    """Takes events until the end."""
    try:
        async with http.stream("GET", "/v1/events", timeout=30) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                seen.events += line.startswith("event: ")
                if time.monotonic() > until:
                    return
    except httpx2.HTTPError as error:
        seen.errors[f"listen: {type(error).__name__} {error}"[:120]] += 1


async def run(url: str, options: argparse.Namespace) -> Seen:
    """All clients at once."""
    seen, until = Seen(), time.monotonic() + WARM_UP_SECONDS + options.seconds
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
        job = await ask(http, seen, "first", "POST", "/v1/jobs", json=BODY)
        path = f"/v1/jobs/{job['id']}"
        clients = [listen(http, seen, until) for _ in range(options.listeners)]
        for number in range(options.pollers):
            offset = POLL_SECONDS * number / options.pollers
            clients.append(repeat(Poller(url, path, seen).ask, POLL_SECONDS, offset=offset, until=until))
        for number in range(options.submitters):
            offset = SUBMIT_SECONDS * number / options.submitters
            clients.append(
                repeat(
                    lambda: ask(http, seen, "submit", "POST", "/v1/jobs", json=BODY),
                    SUBMIT_SECONDS,
                    offset=offset,
                    until=until,
                )
            )
        running = asyncio.gather(*clients)
        await asyncio.sleep(WARM_UP_SECONDS)
        early = seen.taken.pop("poll", [])
        seen.taken.clear()
        await running
        seen.taken["poll from the start"] = early + seen.taken["poll"]
    return seen


def main() -> int:
    """Runs the load against a stack of its own, and prints what came of it; 1 where a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--submitters", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--idle", action="store_true", help="the worker is stopped meanwhile: what is submitted waits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        httpx2.post(f"{stack.url}/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}, timeout=90).raise_for_status()
        if options.idle:
            stack.family.stop("worker")
        seen = asyncio.run(run(stack.url, options))
    figures = {
        "polls": len(seen.taken.get("poll", [])),
        "poll, median ms": round(seen.percentile("poll", 0.5) * 1000, 1),
        "poll, 99th percentile ms": round(seen.percentile("poll", 0.99) * 1000, 1),
        "poll, 99th percentile ms, with the first seconds": round(
            seen.percentile("poll from the start", 0.99) * 1000, 1
        ),
        "submissions": len(seen.taken.get("submit", [])),
        "submit, 99th percentile ms": round(seen.percentile("submit", 0.99) * 1000, 1),
        "events heard": seen.events,
        "errors": dict(seen.errors),
    }
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if not seen.errors and seen.percentile("poll", 0.99) < 0.1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
