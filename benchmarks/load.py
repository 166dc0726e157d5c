"""Load test of the API: many clients poll, listen for events and submit jobs, while the workers have little to do.

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
"""Responses in this time are not in the percentiles, because all clients connect at once. Errors are counted."""

POLL_SECONDS, SUBMIT_SECONDS = 1.0, 30.0
"""Time between two polls of a client, and between two submissions."""


@dataclass
class Measurements:
    """The measurements of all clients.

    Attributes:
        seconds: The response times, by kind of call.
        errors: The number of errors, by message.
        events: The number of received events.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    events: int = 0

    def percentile(self, call: str, rank: float) -> float:
        """Returns a percentile of the response times in seconds; `rank` is between 0 and 1."""
        ordered = sorted(self.seconds.get(call, [0.0]))
        return ordered[min(len(ordered) - 1, int(len(ordered) * rank))]


async def send(
    http: httpx2.AsyncClient, measurements: Measurements, call: str, method: str, path: str, **more: Any
) -> dict[str, Any]:
    """Sends a request and measures the response time. Returns the response, or an empty dict after an error."""
    started = time.perf_counter()
    try:
        response = await http.request(method, path, **more)
        response.raise_for_status()
    except httpx2.HTTPError as error:
        measurements.errors[f"{call}: {type(error).__name__} {error}"[:120]] += 1
        return {}
    measurements.seconds.setdefault(call, []).append(time.perf_counter() - started)
    return dict(response.json())


class Poller:
    """Polls one path over one connection. It uses little CPU, because the clients share the cores of the service."""

    def __init__(self, url: str, path: str, measurements: Measurements) -> None:
        self._address = urlsplit(url)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n\r\n".encode()
        self._measurements = measurements
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def poll(self) -> None:
        """Sends a request and measures the time to the last byte, including the connection if there is none."""
        started = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
            status = await asyncio.wait_for(self._exchange(*self._streams), ANSWER_SECONDS)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._measurements.errors[f"poll: {type(error).__name__} {error}"[:120]] += 1
            self._streams = None
            return
        self._measurements.seconds.setdefault("poll", []).append(time.perf_counter() - started)
        if status != 200:
            self._measurements.errors[f"poll: {status}"] += 1

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(" ", 2)[1])


async def repeat(call: Callable[[], Awaitable[object]], every: float, *, offset: float, until: float) -> None:
    """Calls a function periodically. The offset spreads the clients over the period."""
    await asyncio.sleep(offset)
    while time.monotonic() < until:
        began = time.monotonic()
        await call()
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def listen(http: httpx2.AsyncClient, measurements: Measurements, until: float) -> None:
    """Counts events until the end of the test."""
    try:
        async with http.stream("GET", "/v1/events", timeout=30) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                measurements.events += line.startswith("event: ")
                if time.monotonic() > until:
                    return
    except httpx2.HTTPError as error:
        measurements.errors[f"listen: {type(error).__name__} {error}"[:120]] += 1


async def run(url: str, options: argparse.Namespace) -> Measurements:
    """Runs all clients at once."""
    measurements, until = Measurements(), time.monotonic() + WARM_UP_SECONDS + options.seconds
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as http:

        async def submit() -> dict[str, Any]:
            return await send(http, measurements, "submit", "POST", "/v1/jobs", json=BODY)

        path = f"/v1/jobs/{(await submit())['id']}"
        clients = [listen(http, measurements, until) for _ in range(options.listeners)]
        for number in range(options.pollers):
            offset = POLL_SECONDS * number / options.pollers
            poller = Poller(url, path, measurements)
            clients.append(repeat(poller.poll, POLL_SECONDS, offset=offset, until=until))
        for number in range(options.submitters):
            offset = SUBMIT_SECONDS * number / options.submitters
            clients.append(repeat(submit, SUBMIT_SECONDS, offset=offset, until=until))
        running = asyncio.gather(*clients)
        await asyncio.sleep(WARM_UP_SECONDS)
        early = measurements.seconds.pop("poll", [])
        measurements.seconds.clear()
        await running
        measurements.seconds["poll with warm-up"] = early + measurements.seconds["poll"]
    return measurements


def summarize(measurements: Measurements) -> dict[str, Any]:
    """Returns the figures to print."""

    def milliseconds(call: str, rank: float) -> float:
        return round(measurements.percentile(call, rank) * 1000, 1)

    return {
        "polls": len(measurements.seconds.get("poll", [])),
        "poll, median ms": milliseconds("poll", 0.5),
        "poll, 99th percentile ms": milliseconds("poll", 0.99),
        "poll, 99th percentile ms, including the warm-up": milliseconds("poll with warm-up", 0.99),
        "submissions": len(measurements.seconds.get("submit", [])),
        "submit, 99th percentile ms": milliseconds("submit", 0.99),
        "events received": measurements.events,
        "errors": dict(measurements.errors),
    }


def main() -> int:
    """Runs the load on a new stack and prints the figures; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pollers", type=int, default=200, help="clients that poll a job")
    parser.add_argument("--listeners", type=int, default=20, help="clients that listen for events")
    parser.add_argument("--submitters", type=int, default=50, help="clients that submit jobs")
    parser.add_argument("--seconds", type=float, default=60, help="duration after the warm-up")
    parser.add_argument("--idle", action="store_true", help="stop the worker, so that submitted jobs stay queued")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        httpx2.post(f"{stack.url}/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}, timeout=90).raise_for_status()
        if options.idle:
            stack.processes.stop("worker")
        measurements = asyncio.run(run(stack.url, options))
    figures = summarize(measurements)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if not measurements.errors and measurements.percentile("poll", 0.99) < 0.1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
