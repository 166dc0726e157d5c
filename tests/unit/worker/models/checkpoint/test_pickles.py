"""Pickles are read as tensors; nothing of a file is imported or called."""

import argparse
import builtins
import io
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from worker.models.checkpoint.formats import UnreadableWeights
from worker.models.checkpoint.pickles import StandIn, read_pickle


class Calls:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "function", [os.system, subprocess.getoutput, builtins.eval, builtins.exec, builtins.open, builtins.__import__]
)
def test_a_file_that_calls_code_is_refused_and_the_code_is_not_run(tmp_path: Path, function: Any, new: bool) -> None:
    mark = tmp_path / "run"
    argument = f"touch {mark}" if function in (os.system, subprocess.getoutput) else f"open({str(mark)!r}, 'w')"
    content = {"weights": {"a": torch.zeros(1)}, "x": Calls(function, argument)}
    path = write(tmp_path / "w", content, _use_new_zipfile_serialization=new)
    with pytest.raises(UnreadableWeights, match="which is code") as error:
        read_pickle(path)
    assert "weights_only" not in str(error.value)
    assert not mark.exists()


CALLED: list[str] = []


def called(text: str) -> str:
    CALLED.append(text)
    return text


class Loud:
    """A class that tells when an object of it is created or filled."""

    def __new__(cls) -> "Loud":
        CALLED.append("new")
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        CALLED.append("state")


def test_functions_and_classes_of_a_file_are_replaced_not_called(tmp_path: Path) -> None:
    content = {"weights": {"a": torch.ones(2)}, "x": Calls(called, "y"), "z": Loud()}
    path = write(tmp_path / "w", content)
    CALLED.clear()
    read, skipped = read_pickle(path)
    assert CALLED == []
    assert torch.equal(read["weights"]["a"], torch.ones(2))
    assert isinstance(read["x"], StandIn)
    assert isinstance(read["z"], StandIn)
    assert any(name.endswith(".called") for name in skipped)


def test_no_stand_in_stays_registered(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_pickle(write(tmp_path / "w", {"a": torch.zeros(1), "args": argparse.Namespace(x=1)}))
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_damaged_file_is_refused_as_damaged(tmp_path: Path) -> None:
    old = write(tmp_path / "old", {"a": torch.zeros(1000)}, _use_new_zipfile_serialization=False)
    old.write_bytes(old.read_bytes()[:-100])
    buffer = io.BytesIO()
    whole_path = write(tmp_path / "new", {"a": torch.zeros(9)})
    with zipfile.ZipFile(buffer, "w") as archive, zipfile.ZipFile(whole_path) as whole:
        for name in whole.namelist():
            if "/data/" not in name:  # the tensors that the pickle refers to
                archive.writestr(name, whole.read(name))
    (tmp_path / "new").write_bytes(buffer.getvalue())
    for path in (old, tmp_path / "new"):
        with pytest.raises(UnreadableWeights, match="incomplete or damaged"):
            read_pickle(path)


@pytest.mark.parametrize("damage", [b"argpa\x00se", b"argpa\nse", b"argpa\x7fse", "argpa\u200bse".encode()])
def test_a_damaged_name_of_a_class_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "x", {"options": argparse.Namespace()}, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"argparse", damage))
    with pytest.raises(UnreadableWeights):
        read_pickle(path)


def test_a_pickle_protocol_that_is_not_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "w", {"a": torch.zeros(1)}, pickle_protocol=4)
    with pytest.raises(UnreadableWeights, match="without `pickle_protocol`"):
        read_pickle(path)


def test_a_file_with_very_many_classes_is_refused(tmp_path: Path) -> None:
    classes = [type(f"C{number}", (), {"__module__": __name__}) for number in range(400)]
    globals().update({each.__name__: each for each in classes})
    with pytest.raises(UnreadableWeights, match="too many classes"):
        read_pickle(write(tmp_path / "w", [each() for each in classes]))
