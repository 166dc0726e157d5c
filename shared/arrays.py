"""Reads a NumPy array from bytes that nobody vouches for: pictures of more channels than a picture format has."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
MOST_CHANNELS = 16
LONGEST_HEADER = 10_000
"""Characters: numpy's own limit, beyond which parsing a header may take for ever."""


def read_array(data: bytes, check_size: Callable[[tuple[int, int]], None]) -> NDArray[Any]:
    """The array of a `.npy` file as (H, W, C): uint8 as it is, other numbers as float32.

    Args:
        check_size: Is given width and height before any value is read, and raises what it likes.

    Raises:
        ValueError: The file is broken, holds something else than numbers, or is of another shape.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is not known")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = read_header(file, max_header_size=LONGEST_HEADER)
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= MOST_CHANNELS):
        raise ValueError(f"its shape is {shape}, not (height, width) or (height, width, 1 to {MOST_CHANNELS} channels)")
    if kind.hasobject or kind.kind not in "buif":
        raise ValueError(f"it holds {kind}, not numbers")
    check_size((shape[1], shape[0]))
    count = int(np.prod(shape))
    if len(data) - file.tell() != count * kind.itemsize:
        raise ValueError(f"it has {len(data) - file.tell()} bytes of values, where {count * kind.itemsize} were to be")
    values = np.frombuffer(data, kind, count, file.tell()).reshape(shape, order="F" if by_columns else "C")
    values = values.reshape(shape[0], shape[1], -1)
    if kind == np.uint8:
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("some of its values are not finite")
    return numbers
