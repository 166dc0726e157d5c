"""Finds the account of this machine that opened a connection over the loopback interface."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shared.process.socket_owner import End, find_owner

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The TCP sockets of this machine, on Linux (proc(5))."""

ESTABLISHED = "01"
ROOT = 0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Socket(NamedTuple):
    """One end of a TCP connection on this machine."""

    host: Address
    port: int
    peer_port: int
    user: int


def is_own_account(peer: End, server: End) -> bool:
    """Whether the program that opened a connection runs as the account of this process, or as root.

    Args:
        peer: The end of the program.
        server: The end of this process.

    Returns:
        True also on systems that do not tell, where this cannot be known. False if the program has closed the
        connection, because Linux no longer says whose it was.
    """
    if not TABLES[0].exists():
        return True
    host = _simplify(ipaddress.ip_address(peer.host))
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    owner = find_owner(family, End(str(host), peer.port), server)
    if owner is not None:
        return owner in (os.geteuid(), ROOT)
    users = {
        end.user for end in _list_sockets() if (end.host, end.port, end.peer_port) == (host, peer.port, server.port)
    }
    return bool(users) and users <= {os.geteuid(), ROOT}


def _list_sockets() -> Iterator[Socket]:
    """Yields the ends of open connections that a program still holds."""
    for table in TABLES:
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, remote, state, _, _, _, user, _, inode, *_ = line.split()
            if state == ESTABLISHED and inode != "0":  # a socket without a program has the user 0
                host, port = _read_address(local)
                yield Socket(host, port, _read_address(remote)[1], int(user))


def _read_address(text: str) -> tuple[Address, int]:
    """Reads `0100007F:1F90`: 32-bit words in the byte order of the machine, and the port."""
    words, _, port = text.partition(":")
    numbers = [int(words[start : start + 8], 16) for start in range(0, len(words), 8)]
    packed = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
    return _simplify(ipaddress.ip_address(packed)), int(port, 16)


def _simplify(address: Address) -> Address:
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
