"""A child process that reads checkpoints as a worker does."""

import tempfile
from pathlib import Path

from shared.isolation.frames import Frame
from shared.isolation.serve import serve
from worker.models.checkpoint.formats import Format, UnreadableWeights, recognize
from worker.models.checkpoint.pickles import read_pickle
from worker.models.huggingface.archive import UnreadableFolder, unpack
from worker.models.weights import _load_safetensors


def read(request: Frame) -> Frame:
    """Reads a file of weights, and as an archive of a model folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        path.write_bytes(request.data)
        return Frame({"is_read": _read_weights(path), "is_folder": _unpack(path)})


def _read_weights(path: Path) -> bool:
    try:
        if recognize(path) is Format.SAFETENSORS:
            _load_safetensors(path)
        else:
            read_pickle(path)
    except UnreadableWeights:
        return False
    return True


def _unpack(path: Path) -> bool:
    try:
        with unpack(path, weights=True):
            return True
    except UnreadableFolder:
        return False


if __name__ == "__main__":
    serve({"read": read})
