"""A TCP proxy in front of a server that can stop forwarding, or forward slowly."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from deploy.servers import HOST

CHUNK = 65_536
WAIT_SECONDS = 0.05


class Gate:
    """A TCP proxy between the services and the store, which listens at `upstream`.

    Attributes:
        upstream: The address of the server behind the proxy.
        is_hung: Whether connections are accepted, but nothing is forwarded.
        bytes_per_second: The speed of all connections together, towards the server; None if it is not limited.
    """

    def __init__(self, port: int) -> None:
        self.upstream = f"{HOST}:{port}"
        self.is_hung = False
        self.bytes_per_second: int | None = None
        self._port = port
        self._turn = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._forward, HOST, 0))
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Forwards nothing during the block."""
        self.is_hung = True
        try:
            yield
        finally:
            self.is_hung = False

    @contextmanager
    def slow(self, bytes_per_second: int) -> Iterator[None]:
        """Limits the speed of uploads during the block."""
        self.bytes_per_second = bytes_per_second
        try:
            yield
        finally:
            self.bytes_per_second = None

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await self._pause()
            server_reader, server_writer = await asyncio.open_connection(HOST, self._port)
            await asyncio.gather(
                self._pump(reader, server_writer, is_upload=True), self._pump(server_reader, writer, is_upload=False)
            )
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_upload: bool) -> None:
        """Copies data until the source ends, then closes the sink."""
        with suppress(OSError, asyncio.CancelledError):
            while data := await source.read(CHUNK):
                await self._pause()
                if is_upload:
                    await self._take_turn(len(data))
                sink.write(data)
                await sink.drain()
        with suppress(OSError):
            sink.close()

    async def _take_turn(self, size: int) -> None:
        """Waits as long as a number of bytes takes; all uploads share the bandwidth."""
        if self.bytes_per_second is None:
            return
        async with self._turn:
            if self.bytes_per_second is not None:
                await asyncio.sleep(size / self.bytes_per_second)

    async def _pause(self) -> None:
        while self.is_hung:
            await asyncio.sleep(WAIT_SECONDS)

    async def _close(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
