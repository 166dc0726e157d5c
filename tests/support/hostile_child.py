"""A child process whose tasks exceed each limit, and one that answers more than allowed."""

import ctypes
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from shared.errors import TooLarge
from shared.isolation.frames import Frame
from shared.isolation.serve import serve


def echo(request: Frame) -> Frame:
    return Frame({"pid": os.getpid(), "said": request.document.get("say")}, request.data)


def read(request: Frame) -> Frame:
    with open(request.file, "rb", closefd=False) as file:
        return Frame({}, file.read())


def refuse(request: Frame) -> Frame:
    raise TooLarge("too large")


def allocate(request: Frame) -> Frame:
    return Frame({}, bytes(2_000_000_000))


def spin(request: Frame) -> Frame:
    while True:
        pass


def sleep(request: Frame) -> Frame:
    time.sleep(1000)
    return Frame({})


def crash(request: Frame) -> Frame:
    ctypes.string_at(0)
    return Frame({})


def look_around(request: Frame) -> Frame:
    files = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the list itself was open
            files.append(str(link.readlink()))
    return Frame({"variables": sorted(os.environ), "files": files})


if __name__ == "__main__":
    serve({task.__name__: task for task in (echo, read, refuse, allocate, spin, sleep, crash, look_around)})
    sys.exit()
