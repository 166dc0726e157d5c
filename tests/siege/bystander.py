"""An unconcerned client: sends the same calls once a second, each on a new connection, and writes how long each took.

python -m tests.siege.bystander < calls.json

It is a separate process, so that the threads of the attack do not slow it down. The first line of its input is a JSON
list of calls; it stops at the end of its input. It prints `ready`, then one JSON object for each call.
"""

import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

PAUSE_SECONDS = 1.0
LIMIT_SECONDS = 12.0
"""A call without an answer for this time has failed."""


@dataclass(frozen=True)
class Call:
    """A call that is repeated.

    Attributes:
        name: The name of the call in the table.
        address: `host:port` of the service.
        text: The body; none by default.
    """

    name: str
    address: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None


@dataclass(frozen=True)
class Sample:
    """One measured call.

    Attributes:
        seconds: From before the connection until the whole response was read.
        status: The HTTP status; None if there was no answer.
        reason: The detail of a problem document, or the error of the connection.
        job: The id of the job that was accepted, if one was.
    """

    name: str
    seconds: float
    status: int | None
    reason: str = ""
    job: str | None = None


def measure(call: Call) -> Sample:
    """Sends a call on a new connection."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(call.address, timeout=LIMIT_SECONDS)
    try:
        body = call.text.encode("latin-1") if call.text is not None else None
        connection.request(call.method, call.path, body, call.headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        return Sample(call.name, time.monotonic() - began, None, repr(error))
    finally:
        connection.close()
    seconds = time.monotonic() - began
    document = read_object(content)
    job = document.get("id") if response.status == 202 else None
    return Sample(call.name, seconds, response.status, str(document.get("detail", "")), job)


def read_object(content: bytes) -> dict[str, Any]:
    """Returns a JSON object; an empty one if the content is none."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def repeat(call: Call, stop: threading.Event) -> None:
    """Measures a call once a second; after a slow one, at once."""
    while not stop.is_set():
        sample = measure(call)
        sys.stdout.write(json.dumps(asdict(sample)) + "\n")  # one write, so that lines of threads do not mix
        sys.stdout.flush()
        stop.wait(max(0.0, PAUSE_SECONDS - sample.seconds))


def main() -> None:
    calls = [Call(**fields) for fields in json.loads(sys.stdin.readline())]
    stop = threading.Event()
    threads = [threading.Thread(target=repeat, args=(call, stop)) for call in calls]
    print("ready", flush=True)
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
