"""The child process that reads an untrusted pickle of weights before the worker does."""

from pathlib import Path

from shared.isolation.frames import Frame
from shared.isolation.serve import serve
from worker.models.checkpoint.formats import UnreadableWeights
from worker.models.checkpoint.pickles import read_pickle
from worker.models.checkpoint.state_dicts import find_state_dicts


def read(request: Frame) -> Frame:
    """Reads a file, and returns why it is refused, if it is."""
    try:
        content, _ = read_pickle(Path(request.document["path"]))
        find_state_dicts(content)
    except UnreadableWeights as error:
        if isinstance(error.__cause__, MemoryError) or "allocate memory" in str(error.__cause__):
            raise MemoryError from error
        return Frame({"refused": str(error)})
    return Frame({})


if __name__ == "__main__":
    serve({"read": read})
