"""Asks Linux which account holds a TCP socket of this machine, in microseconds: sock_diag(7).

The tables in `/proc/net` say the same, but reading one takes milliseconds, because Linux visits every bucket of it.
"""

import socket
import struct
from typing import NamedTuple

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
ESTABLISHED = 1
REPLY_BYTES = 8192
REPLY_SECONDS = 1.0

HEADER = struct.Struct("=IHHII")
"""`struct nlmsghdr`: length, type, flags, sequence number, port."""

QUERY = struct.Struct("=BBBxI")
"""Start of `struct inet_diag_req_v2`: family, protocol, extensions, states."""

SOCKET_ID = struct.Struct("!HH16s16s")
"""Start of `struct inet_diag_sockid`: source port, destination port, source address, destination address."""

ANY_INTERFACE_AND_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)

REPLY = struct.Struct("=BB2x48x12xII")
"""`struct inet_diag_msg`: family, state, and at the end user and inode."""


class End(NamedTuple):
    """Address and port of one end of a connection."""

    host: str
    port: int


def find_owner(family: socket.AddressFamily, near: End, far: End) -> int | None:
    """Returns the user of the program that holds one end of an open connection.

    Args:
        family: `AF_INET` or `AF_INET6`.
        near: The end that the program holds.
        far: The other end.

    Returns:
        None if Linux names no such socket, no program holds it, or this system cannot be asked.
    """
    if not hasattr(socket, "AF_NETLINK"):
        return None
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as link:
            link.settimeout(REPLY_SECONDS)
            link.send(_pack_query(family, near, far))
            return _read_owner(link.recv(REPLY_BYTES))
    except OSError:
        return None


def _pack_query(family: socket.AddressFamily, near: End, far: End) -> bytes:
    hosts = (socket.inet_pton(family, end.host).ljust(16, b"\0") for end in (near, far))
    query = QUERY.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    query += SOCKET_ID.pack(near.port, far.port, *hosts) + ANY_INTERFACE_AND_COOKIE
    return HEADER.pack(HEADER.size + len(query), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + query


def _read_owner(answer: bytes) -> int | None:
    kind = HEADER.unpack_from(answer)[1]
    if kind != SOCK_DIAG_BY_FAMILY:
        return None
    _, state, user, inode = REPLY.unpack_from(answer, HEADER.size)
    # A socket without a program has the user 0.
    return int(user) if state == ESTABLISHED and inode else None
