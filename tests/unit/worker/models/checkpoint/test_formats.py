"""Files that are no weights of PyTorch are refused, each in one clear sentence."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from worker.models.checkpoint.formats import Format, UnreadableWeights, recognize


def pickled(**options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, buffer, **options)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return buffer.getvalue()


def tarred(name: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w{mode}") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def numpied() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def test_the_formats_that_are_read_are_recognized(tmp_path: Path) -> None:
    contents = {
        Format.SAFETENSORS: [save({"a": torch.zeros(2)})],
        Format.PICKLE: [pickled(), pickled(_use_new_zipfile_serialization=False), pickled(pickle_protocol=4)],
    }
    for expected, files in contents.items():
        for data in files:
            (tmp_path / "w").write_bytes(data)
            assert recognize(tmp_path / "w") is expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


REFUSED = {
    "empty": (b"", "is empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "Git LFS pointer"),
    "html": (b"\n<!DOCTYPE html><html><head>", "HTML page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML document"),
    "json": (b'{"data":{"error":"Not Found"}}', "JSON document"),
    "text": (b"Entry not found", "text file"),
    "keras": (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
    "keras 3": (zipped("metadata.json", "config.json", "model.weights.h5"), "Keras"),
    "tensorflow": (b"\x08\x01\x12\xff\x00saved", "TensorFlow"),
    "tflite": (b"\x1c\0\0\0TFL3\x00\x00", "TensorFlow Lite"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "ONNX"),
    "numpy": (b"\x93NUMPY\x01\x00", "NumPy array"),
    "numpy archive": (numpied(), "NumPy arrays"),
    "pickle": (pickle.dumps({"a": 1}), "pickle that `torch.save` did not write"),
    "zip": (zipped("a.txt"), "ZIP archive without weights"),
    "folder": (zipped("m/config.json", "m/model.safetensors"), "architecture `huggingface`"),
    "packed folder": (tarred("m/config.json", ":gz"), "architecture `huggingface`"),
    "tar": (tarred("m/weights.pt", ""), "tar archive"),
    "gzip": (tarred("m/weights.pt", ":gz"), "gzip"),
    "truncated": (pickled()[:-500], "incomplete or damaged"),
    "truncated safetensors": (save({"a": torch.zeros(9)})[:20], "incomplete or damaged"),
    "noise": (bytes(range(200, 256)) * 4, "neither a safetensors file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_are_refused_with_what_they_are(case: str, tmp_path: Path) -> None:
    data, message = REFUSED[case]
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(UnreadableWeights, match=message):
        recognize(tmp_path / "w")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(scripted())
    with pytest.raises(UnreadableWeights, match="TorchScript"):
        recognize(tmp_path / "w")


def test_an_exported_program_is_refused_with_the_architecture_to_give(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "w.pt2")
    with pytest.raises(UnreadableWeights, match="architecture `program`"):
        recognize(tmp_path / "w.pt2")
