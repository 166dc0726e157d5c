"""Reads NumPy arrays (`.npy`) from untrusted bytes: images with more channels than image formats support."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
MAX_CHANNELS = 16
MAX_HEADER_LENGTH = 10_000
"""Characters. This is NumPy's own limit: the time to parse a longer header is not bounded."""

HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_array(data: bytes, check_size: Callable[[tuple[int, int]], None]) -> NDArray[Any]:
    """Reads an array from the bytes of an `.npy` file.

    Args:
        data: The file. Its array has the shape `(H, W)` or `(H, W, C)`.
        check_size: Called with width and height before any value is read; raises an error if they are too large.

    Returns:
        Array of shape `(H, W, C)`: uint8 if the file has uint8, float32 for all other types of numbers.

    Raises:
        ValueError: The file is damaged, has another shape, or contains other values than finite numbers.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise ValueError(f"version {version} of the .npy format is not supported")
    shape, fortran_order, kind = HEADER_READERS[version](file, max_header_size=MAX_HEADER_LENGTH)
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= MAX_CHANNELS):
        allowed = f"(height, width) or (height, width, 1 to {MAX_CHANNELS} channels)"
        raise ValueError(f"its shape is {shape}, not {allowed}")
    if kind.hasobject or kind.kind not in "buif":
        raise ValueError(f"it contains {kind}, not numbers")
    check_size((shape[1], shape[0]))
    count, offset = int(np.prod(shape)), file.tell()
    if len(data) - offset != count * kind.itemsize:
        raise ValueError(f"it has {len(data) - offset} bytes of values; its shape requires {count * kind.itemsize}")
    values = np.frombuffer(data, kind, count, offset).reshape(shape, order="F" if fortran_order else "C")
    return _convert(values.reshape(shape[0], shape[1], -1))


def _convert(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("some of its values are not finite")
    return numbers
