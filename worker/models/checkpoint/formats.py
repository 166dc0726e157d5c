"""Recognizes the format of a weights file by its content, and says in a sentence why another file is refused."""

import tarfile
import zipfile
from enum import StrEnum, auto
from pathlib import Path

from shared.media.zip_file import READ_ERRORS, TooManyMembers, UnusualCompression, open_zip

HEAD_BYTES = 512

MAX_HEADER_BYTES = 20_000_000
"""Largest header of a safetensors file, which has the names and shapes of the tensors."""

MAX_MEMBERS = 100_000
"""Largest number of tensors in a file of `torch.save`, each of which is a member of a ZIP file."""

MAX_PICKLE_BYTES = 50_000_000
"""Largest pickle in such a file; the values of the tensors are beside it."""

TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The pickled number with which files begin that `torch.save` wrote before PyTorch 1.6."""

SAVE_AGAIN = "save the weights with `torch.save(network.state_dict(), path)` or as safetensors"


class Format(StrEnum):
    """Format of a weights file."""

    SAFETENSORS = auto()
    PICKLE = auto()


class UnreadableWeights(ValueError):
    """A file that has no weights that can be read; the message is a sentence without its subject."""


SIGNATURES = (
    (b"version https://git-lfs", "is a Git LFS pointer instead of the file; run `git lfs pull`, and upload the file"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras and TensorFlow write it; in PyTorch, {SAVE_AGAIN}"),
    (b"\x93NUMPY", f"is a NumPy array; {SAVE_AGAIN}"),
    (b"GGUF", f"is a GGUF file of llama.cpp; {SAVE_AGAIN}"),
    (b"\x08\x01\x12", f"is a SavedModel of TensorFlow; in PyTorch, {SAVE_AGAIN}"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it, and upload the file in it"),
    (b"BZh", "is compressed with bzip2; unpack it, and upload the file in it"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it, and upload the file in it"),
    (b"(\xb5/\xfd", "is compressed with zstd; unpack it, and upload the file in it"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it, and upload the file in it"),
    (b"Rar!", "is a RAR archive; unpack it, and upload the file in it"),
)

MODEL_FOLDER = "is an archive of a Hugging Face model folder; register it with the architecture `huggingface`"
TRUNCATED = "is incomplete or damaged; upload it again"


def recognize(path: Path) -> Format:
    """Returns the format of a weights file.

    Raises:
        UnreadableWeights: The file has another format; the message names it.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise UnreadableWeights("is empty; upload it again")
    for check in (_refuse_text, _refuse_signature):
        check(head, path)
    if head.startswith(b"PK"):
        _check_zip(path)
        return Format.PICKLE
    if head[8:9] == b"{":
        return _check_safetensors(head, path)
    if head.startswith(b"\x80"):
        if TORCH_MAGIC not in head[:40]:
            raise UnreadableWeights(f"is a pickle that `torch.save` did not write; {SAVE_AGAIN}")
        return Format.PICKLE
    if head[0] == 8 and head[1] < 32 and head[2:3] in (b"\x12", b":", b"B", b"\x1a", b"\x22"):
        raise UnreadableWeights("is an ONNX file; register it with the architecture `onnx`")
    raise UnreadableWeights(f"is neither a safetensors file nor one that `torch.save` wrote; {SAVE_AGAIN}")


def _refuse_text(head: bytes, _path: Path) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        raise UnreadableWeights("is an HTML page instead of weights; download the file itself, and upload it")
    if text.startswith(b"<?xml"):
        raise UnreadableWeights("is an XML document, perhaps the error message of a store; download the file again")
    if text.startswith((b"{", b"[")) and text.isascii() and b"\0" not in head:
        raise UnreadableWeights("is a JSON document instead of weights; upload the file of weights")


def _refuse_signature(head: bytes, path: Path) -> None:
    for signature, message in SIGNATURES:
        if head.startswith(signature):
            raise UnreadableWeights(MODEL_FOLDER if _is_packed_model_folder(path) else message)
    if head[4:8] == b"TFL3":
        raise UnreadableWeights(f"is a TensorFlow Lite file; in PyTorch, {SAVE_AGAIN}")
    if head[257:262] == b"ustar":
        raise UnreadableWeights(
            MODEL_FOLDER if _is_packed_model_folder(path) else "is a tar archive; upload the file in it"
        )
    if head.isascii() and head.decode("ascii").isprintable():
        raise UnreadableWeights("is a text file instead of weights; upload the file of weights")


def _is_packed_model_folder(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:  # a model folder begins with its few files
            names = [member.name for _, member in zip(range(20), archive, strict=False)]
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return False
    return _is_model_folder(names)


def _is_model_folder(names: list[str]) -> bool:
    return any(name.rpartition("/")[2] == "config.json" for name in names)


def _check_safetensors(head: bytes, path: Path) -> Format:
    length = int.from_bytes(head[:8], "little")
    if length + 8 > path.stat().st_size:
        raise UnreadableWeights(TRUNCATED)
    if length > MAX_HEADER_BYTES:
        raise UnreadableWeights(
            f"has a header of {length} bytes; the limit is {MAX_HEADER_BYTES}, which is enough for a hundred thousand "
            "tensors"
        )
    return Format.SAFETENSORS


def _check_zip(path: Path) -> None:
    try:
        with path.open("rb") as file, open_zip(file, max_members=MAX_MEMBERS) as archive:
            names, members = archive.namelist(), archive.infolist()
    except (TooManyMembers, UnusualCompression) as error:
        raise UnreadableWeights(f"cannot be used: {error}; {SAVE_AGAIN}") from error
    except READ_ERRORS as error:
        raise UnreadableWeights(TRUNCATED) from error
    ends = {name.partition("/")[2] or name for name in names}
    if ends & {"constants.pkl", "code/__torch__.py"}:
        raise UnreadableWeights(
            "is a TorchScript file, which contains code; load it with torch.jit.load, and save the weights with "
            "`torch.save(network.state_dict(), path)`, or export the network with torch.export (architecture `program`)"
        )
    if ends & {"archive_format", "serialized_exported_program.json"} or any("models/model.json" in n for n in names):
        raise UnreadableWeights("is an exported program; register it with the architecture `program`")
    if "data.pkl" not in ends:
        raise UnreadableWeights(_describe_zip(names))
    _check_members(members)


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raises `UnreadableWeights` if a file of `torch.save` unpacks to more than its size: it compresses nothing."""
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise UnreadableWeights(f"has compressed members, which `torch.save` does not write; {SAVE_AGAIN}")
        if member.filename.endswith("data.pkl") and member.file_size > MAX_PICKLE_BYTES:
            raise UnreadableWeights(
                f"has {member.file_size} bytes of names and plain values, and not tensors alone; the limit is "
                f"{MAX_PICKLE_BYTES}: {SAVE_AGAIN}"
            )


def _describe_zip(names: list[str]) -> str:
    """Says what a ZIP archive is that `torch.save` did not write."""
    if any(name.endswith(".h5") for name in names):
        return f"is a Keras file; in PyTorch, {SAVE_AGAIN}"
    if _is_model_folder(names):
        return MODEL_FOLDER
    if any(name.endswith("saved_model.pb") for name in names):
        return f"is a SavedModel of TensorFlow; in PyTorch, {SAVE_AGAIN}"
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy arrays (.npz); {SAVE_AGAIN}"
    return f"is a ZIP archive without weights that `torch.save` wrote; {SAVE_AGAIN}"
