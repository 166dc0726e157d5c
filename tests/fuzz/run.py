"""Sends mutated images, archives, arrays, checkpoints and JSON bodies to an API and to decoders with limits of memory.

`make fuzz` runs the long form. A process that dies, an internal error, or an answer that takes more than five seconds
is a failure.
"""

import argparse
import io
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flask.testing import FlaskClient

from api.app import create_app
from shared.isolation.child import Limits, TaskFailed
from shared.isolation.frames import Frame
from shared.isolation.pool import ChildPool
from shared.settings import Settings
from tests.fuzz.checkpoints import draw_checkpoints
from tests.fuzz.mutations import draw_archives, draw_documents, draw_images

API_BYTES, DECODER_BYTES = 1 << 30, 2 << 30
MAX_SECONDS = 5.0
SHARES = {"images": 0.4, "archives": 0.2, "documents": 0.3, "checkpoints": 0.1}

Send = Callable[[bytes], str]


@dataclass
class Outcome:
    """What happened to the files of one kind.

    Attributes:
        answers: Number of files by answer.
        slowest: Seconds of the slowest answer.
        failures: What must not happen.
    """

    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0
    failures: list[str] = field(default_factory=list)


class Api:
    """An API whose store does not exist: a file that is accepted gets a 503 when it would be stored."""

    def __init__(self) -> None:
        settings = Settings(
            redis_url="redis://127.0.0.1:1/0",
            s3_endpoint="http://127.0.0.1:1",
            keyless_loopback=True,
            log_level="error",
        )
        self._http: FlaskClient = create_app(settings).test_client()
        self._connection = socket.socket()
        self._http.environ_base["gunicorn.socket"] = self._connection  # as under gunicorn, which drains large bodies

    def send_file(self, path: str) -> Send:
        """Returns a function that uploads a file."""
        return lambda data: self._note(self._http.post(path, data={"file": (io.BytesIO(data), "file")}))

    def send_document(self, path: str) -> Send:
        """Returns a function that sends JSON."""
        return lambda data: self._note(self._http.post(path, data=data, content_type="application/json"))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @staticmethod
    def _note(answer: object) -> str:
        status = getattr(answer, "status_code", 0)
        if status not in (400, 401, 403, 409, 413, 415, 422, 429, 503):
            raise AssertionError(f"status {status}")
        return str(status)


def read_checkpoint(pool: ChildPool) -> Send:
    """Returns a function that reads a checkpoint in a child process."""

    def read(data: bytes) -> str:
        try:
            answer = pool.carry_out("read", Frame({}, data)).document
        except TaskFailed as failure:
            raise AssertionError(f"the decoder ended: {failure.limit}") from failure
        return "read" if answer["is_read"] or answer["is_folder"] else "refused"

    return read


def run(count: int, seed: int = 1) -> dict[str, Outcome]:
    """Sends `count` files and documents; returns what happened by kind."""
    api, pool = Api(), ChildPool("tests.fuzz.checkpoint_process", Limits(DECODER_BYTES, cpu_seconds=60, seconds=120))
    chance = random.Random(seed)
    kinds: dict[str, tuple[Iterator[bytes], Send]] = {
        "images": (draw_images(chance), api.send_file("/v1/images")),
        "archives": (draw_archives(chance), api.send_file("/v1/archives")),
        "documents": (draw_documents(chance), api.send_document("/v1/jobs")),
        "checkpoints": (draw_checkpoints(chance), read_checkpoint(pool)),
    }
    outcomes = {name: _send_all(files, send, int(count * SHARES[name])) for name, (files, send) in kinds.items()}
    pool.close()
    api.close()
    return outcomes


def _send_all(files: Iterator[bytes], send: Send, count: int) -> Outcome:
    outcome = Outcome()
    for number in range(count):
        data, start = next(files), time.monotonic()
        try:
            outcome.answers[send(data)] += 1
        except Exception as error:
            outcome.failures.append(f"number {number}: {type(error).__name__}: {error}")
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
    return outcome


def main() -> int:
    """Runs the long form with limits of memory, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (API_BYTES, resource.RLIM_INFINITY))  # children have limits of their own
    outcomes = run(arguments.count, arguments.seed)
    for name, outcome in outcomes.items():
        answers = ", ".join(f"{count} × {answer}" for answer, count in sorted(outcome.answers.items()))
        print(f"{name:12} {outcome.answers.total():6}  slowest {outcome.slowest:.2f} s  {answers}")
        print(*outcome.failures[:20], sep="\n")
    own, children = (
        resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"largest resident memory: API {own} MB, decoders {children} MB")
    is_slow = any(outcome.slowest > MAX_SECONDS for outcome in outcomes.values())
    return int(is_slow or any(outcome.failures for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
