"""`make serve` as a child process, and the processes below it."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.waiting import wait_until

READY_SECONDS = 120


@contextmanager
def serving(folder: Path, port: int, env: Mapping[str, str] | None = None) -> "Iterator[subprocess.Popen[bytes]]":
    """Runs `deploy.local serve` until the block ends; standard output and error are in `folder/serve.log`."""
    command = [sys.executable, "-m", "deploy.local", "serve", "--folder", str(folder), "--port", str(port)]
    folder.mkdir(exist_ok=True)
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    try:
        wait_until(lambda: _is_ready(process, port, folder), READY_SECONDS)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait(10)


def _is_ready(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/readyz", timeout=5
        ).close()
    except OSError:
        assert process.poll() is None, (folder / "serve.log").read_text()
        return False
    return True
