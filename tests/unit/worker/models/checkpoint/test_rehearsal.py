"""A small file of weights that needs much memory or time is refused before the worker itself reads it."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from worker.models.checkpoint import rehearsal
from worker.models.checkpoint.formats import Format, UnreadableWeights, recognize
from worker.models.checkpoint.pickles import read_pickle
from worker.models.checkpoint.rehearsal import rehearse
from worker.models.checkpoint.state_dicts import find_state_dicts


class Call:
    """Is pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write_pickle(path: Path, content: Any, method: int = zipfile.ZIP_STORED) -> Path:
    """A file as `torch.save` writes it, with any pickle."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("archive/version", "3\n")
    return path


SPARSE = torch.sparse_coo_tensor(
    torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (10**5, 10**5), check_invariants=True
)


def test_weights_of_torch_save_are_accepted(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "a.pt")
    assert recognize(tmp_path / "a.pt") is Format.PICKLE
    rehearse(tmp_path / "a.pt")  # raises if it refuses them


@pytest.mark.parametrize(
    "content",
    [Call(bytearray, 50_000_000_000), {"a": Call(torch.Tensor, 100_000, 100_000)}],
    ids=["bytes", "tensor"],
)
def test_a_pickle_that_allocates_much_memory_is_refused(tmp_path: Path, content: Any) -> None:
    path = write_pickle(tmp_path / "a.pt", content)
    with pytest.raises(UnreadableWeights, match=r"memory|cannot read"):
        rehearse(path)


def test_a_pickle_that_takes_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "CPU_SECONDS", -4)  # and five for the size
    path = write_pickle(tmp_path / "a.pt", [[number] for number in range(1_000_000)])
    with pytest.raises(UnreadableWeights, match="CPU time"):
        rehearse(path)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "a.pt", OrderedDict(), zipfile.ZIP_DEFLATED)
    with pytest.raises(UnreadableWeights, match="compressed members"):
        recognize(path)


def test_a_large_pickle_beside_the_tensors_is_refused(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "a.pt", bytearray(51_000_000))
    with pytest.raises(UnreadableWeights, match="names and plain values"):
        recognize(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(1).expand(100_000, 100_000), SPARSE],
    ids=["view", "sparse"],
)
def test_tensors_that_expand_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save({"weight": tensor}, tmp_path / "a.pt")
    with pytest.raises(UnreadableWeights, match="expand to 40000000000"):
        read_pickle(tmp_path / "a.pt")


def test_a_header_of_safetensors_that_is_too_large_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"a": "x" * 21_000_000}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UnreadableWeights, match="has a header of"):
        recognize(tmp_path / "a.safetensors")


def test_the_search_for_state_dicts_ends_if_dictionaries_repeat() -> None:
    content: Any = {}
    for _ in range(6):
        content = {str(number): content for number in range(1000)}
    assert find_state_dicts(content) == []


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weight": torch.ones(3)}, path)
    rehearse(path)
    buffer = io.BytesIO()
    torch.save(OrderedDict(), buffer)
    path.write_bytes(buffer.getvalue()[:-200])
    with pytest.raises(UnreadableWeights):
        rehearse(path)
