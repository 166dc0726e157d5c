"""Number of threads of the processes that a test starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limits torch to one thread: several processes on two cores are several times faster this way."""
    earlier = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if earlier is not None:
            os.environ["OMP_NUM_THREADS"] = earlier
