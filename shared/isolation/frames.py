"""Messages between a process and its child: JSON, then bytes. Nothing of a child is unpickled.

A child may be under the control of the file that it reads, so the sizes of what it sends are checked before they are
read.
"""

import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

from archetype.contract.strict_json import dump_json, load_json

HEADER = struct.Struct(">II")
"""Bytes of the JSON document, and of the data that follows it."""

MAX_DOCUMENT = 1 << 20


class InvalidFrame(Exception):
    """A message is larger than allowed, or is not a JSON object."""


class Ended(Exception):
    """The other process closed the connection."""


@dataclass(frozen=True)
class Frame:
    """A message.

    Attributes:
        document: A JSON object.
        data: Bytes that belong to it.
        file: A file descriptor that is sent with it; None for none.
    """

    document: dict[str, Any]
    data: bytes | bytearray | memoryview = b""
    file: int | None = field(default=None, compare=False)


def send(connection: socket.socket, frame: Frame, deadline: float | None = None) -> None:
    """Sends a message.

    Args:
        connection: The connection.
        frame: The message.
        deadline: When to stop, by `time.monotonic`; None for never.

    Raises:
        TimeoutError: The deadline has passed.
        OSError: The other process has ended.
    """
    document = dump_json(frame.document).encode()
    _set_timeout(connection, deadline)
    head = HEADER.pack(len(document), len(frame.data))
    if frame.file is None:
        connection.sendall(head)
    else:
        socket.send_fds(connection, [head], [frame.file])
    connection.sendall(document)
    data = memoryview(frame.data)
    while data:
        _set_timeout(connection, deadline)
        data = data[connection.send(data[: 1 << 20]) :]


def receive(connection: socket.socket, deadline: float | None = None, *, max_data: int = 1 << 32) -> Frame:
    """Receives a message.

    Args:
        connection: The connection.
        deadline: When to stop, by `time.monotonic`; None for never.
        max_data: Largest number of bytes of data.

    Raises:
        TimeoutError: The deadline has passed.
        Ended: The other process has ended.
        InvalidFrame: The message is larger than allowed, or is not a JSON object.
    """
    _set_timeout(connection, deadline)
    head, files, _, _ = socket.recv_fds(connection, HEADER.size, 1)
    head += _receive(connection, HEADER.size - len(head), deadline) if head else b""
    if not head:
        raise Ended
    length, size = HEADER.unpack(head)
    if length > MAX_DOCUMENT or size > max_data:
        raise InvalidFrame(f"a message of {length} and {size} bytes")
    document = _parse(bytes(_receive(connection, length, deadline)))
    return Frame(document, _receive(connection, size, deadline), files[0] if files else None)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        document = load_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidFrame("not JSON") from error
    if not isinstance(document, dict):
        raise InvalidFrame("not a JSON object")
    return document


def _receive(connection: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        _set_timeout(connection, deadline)
        count = connection.recv_into(rest)
        if not count:
            raise Ended
        rest = rest[count:]
    return data


def _set_timeout(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
