"""Looks up the addresses of receivers.

The system's resolver cannot be interrupted, so that each lookup has a thread of its own. A delivery that stops waiting
for its lookup leaves the thread behind until the resolver gives up; `Lookups` limits how many there are.
"""

import asyncio
import ipaddress
import socket
import threading
from collections import Counter
from concurrent.futures import Future

MAX_LOOKUPS, MAX_LOOKUPS_OF_TENANT = 256, 8


class LookupsBusy(OSError):
    """Too many earlier lookups have not ended."""


class Lookups:
    """The lookups that are under way, of all tenants."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: Counter[str] = Counter()

    async def find_addresses(self, tenant: str, host: str, port: int) -> list[str]:
        """The addresses of a host, without duplicates.

        Args:
            tenant: Tenant whose delivery it is.
            host: Name in ASCII, or address.
            port: Port of the connection.

        Raises:
            OSError: The host has no address, the resolver failed, or too many lookups of the tenant have not ended.
        """
        self._begin(tenant)
        result: Future[list[str]] = Future()
        result.set_running_or_notify_cancel()  # a lookup that no delivery waits for any more still ends by itself
        try:
            threading.Thread(target=self._run, args=(result, tenant, host, port), name="lookup", daemon=True).start()
        except RuntimeError as error:  # the machine has no thread left
            self._end(tenant)
            raise LookupsBusy("no lookup can start, because this machine has no thread left") from error
        return await asyncio.wrap_future(result)

    def _begin(self, tenant: str) -> None:
        with self._lock:
            if self._active[tenant] >= MAX_LOOKUPS_OF_TENANT or self._active.total() >= MAX_LOOKUPS:
                raise LookupsBusy("the DNS lookups of earlier deliveries have not ended")
            self._active[tenant] += 1

    def _run(self, result: "Future[list[str]]", tenant: str, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
            result.set_result(list(dict.fromkeys(str(info[4][0]) for info in found)))
        except OSError as error:
            result.set_exception(error)
        except Exception as error:
            result.set_exception(OSError(f"{type(error).__name__}: {error}"))
        finally:
            self._end(tenant)

    def _end(self, tenant: str) -> None:
        with self._lock:
            self._active[tenant] -= 1
            if not self._active[tenant]:
                del self._active[tenant]


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the resolver returns it; the zone of a link-local address is left out."""
    return ipaddress.ip_address(text.partition("%")[0])
