"""A file that is read from an object in parts, so that a few members of a large archive need no copy of all of it."""

import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 1 << 20
"""Size of a part; larger reads are one part."""


class RangedFile(io.RawIOBase):
    """A file without a buffer. Every read is a call of the store."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        """Opens the file at its start.

        Args:
            read_range: Returns the bytes from a position up to another one.
            size: Size of the object in bytes.
        """
        self._read_range = read_range
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """The file can be read."""
        return True

    def seekable(self) -> bool:
        """The file can be read at any position."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position of the next read; returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("the position is before the start of the file")  # as a file of the operating system
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Reads up to the size of the buffer; returns the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = b""
        if (stop := min(self._position + len(view), self._size)) > self._position:
            data = self._read_range(self._position, stop)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def open_ranged(read_range: Callable[[int, int], bytes], size: int) -> IO[bytes]:
    """Opens an object as a file with a buffer. Arguments as of `RangedFile`."""
    return cast("IO[bytes]", io.BufferedReader(RangedFile(read_range, size), BUFFER_BYTES))
