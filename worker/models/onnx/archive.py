"""Reads an ONNX file, or an untrusted ZIP file of it and of its weights, which `torch.onnx.export` writes beside it."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx

from shared.media.zip_file import READ_ERRORS, open_zip

MAX_MEMBERS = 100

MAX_BYTES = 2_000_000_000
"""Largest size of a whole model, which protobuf cannot exceed."""

MAX_RATIO = 100
"""Largest size of all weights, relative to the ZIP file: weights hardly shrink when they are compressed."""

MAX_NODES, MAX_FUNCTIONS = 200_000, 50
"""Nodes of a graph with those of its functions, and functions that call each other."""

ONE_FILE = (
    "save it as one file with `torch.onnx.export(…, external_data=False)`, or upload a ZIP file of both; "
    "`archetype models add` packs NAME.onnx and NAME.onnx.data"
)


class UnreadableOnnx(ValueError):
    """A file that is no complete ONNX model; the message is a sentence without its subject."""


def read_model(path: Path) -> onnx.ModelProto:
    """Reads a model from an ONNX file, or from a ZIP file that contains it with the files of its weights.

    Raises:
        UnreadableOnnx: The ZIP file is damaged or too large, or a file of weights is missing.
        Exception: The file is not ONNX; protobuf has no public class for this.
    """
    if not zipfile.is_zipfile(path):
        model = onnx.load(path, load_external_data=False)
        outside = sum(map(_is_outside, list_tensors(model)))
        if outside:
            raise UnreadableOnnx(f"has the values of {outside} weights in another file; {ONE_FILE}")
        return _check_size(model)
    try:
        with path.open("rb") as file, open_zip(file, max_members=MAX_MEMBERS) as archive:
            members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
            models = [name for name in members if name.endswith(".onnx")]
            if len(models) != 1:
                raise UnreadableOnnx(f"is a ZIP file with {len(models)} ONNX files; it must have one")
            model = onnx.load_from_string(_read(archive, members[models[0]], MAX_BYTES))
            _fill(model, archive, members, room=min(MAX_BYTES, MAX_RATIO * path.stat().st_size))
            return _check_size(model)
    except UnreadableOnnx:
        raise
    except READ_ERRORS as error:
        raise UnreadableOnnx(f"is a ZIP file that cannot be unpacked ({str(error)[:200]})") from error


def list_tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Yields all tensors of a model, wherever they are: in graphs, functions, attributes, and sparse tensors."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from list_tensors(part)


def count_nodes(model: onnx.ModelProto) -> int:
    """Counts the nodes of a graph after its functions are inlined."""
    sizes: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            function = functions.get((node.domain, node.op_type))
            total += 1 if function is None else measure(function, depth + 1)
        return total

    def measure(function: onnx.FunctionProto, depth: int) -> int:
        key = (function.domain, function.name)
        if key not in sizes:
            if depth > MAX_FUNCTIONS:
                raise UnreadableOnnx("has functions that call each other too deeply")
            sizes[key] = count(function.node, depth)
        return sizes[key]

    functions = {(each.domain, each.name): each for each in model.functions}
    return count(model.graph.node, 0)


def _is_outside(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _check_size(model: onnx.ModelProto) -> onnx.ModelProto:
    count = count_nodes(model)
    if count > MAX_NODES:
        raise UnreadableOnnx(f"has {count} nodes with those of its functions; {MAX_NODES} are allowed")
    return model


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: int) -> bytes:
    with archive.open(info) as file:
        data = file.read(room + 1)
    if len(data) > room:
        raise UnreadableOnnx(f"is a ZIP file in which {info.filename[:100]} is too large, or is compressed too much")
    return data


def _fill(model: onnx.ModelProto, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], *, room: int) -> None:
    """Puts the values of weights that are in other members into the model. Paths are never followed."""
    files: dict[str, bytes] = {}
    left = room
    for tensor in list_tensors(model):
        if not _is_outside(tensor):
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        name = PurePosixPath(where.get("location", "")).name
        if name not in members:
            raise UnreadableOnnx(f"has weights in {name or 'a file without a name'}, which is not in the ZIP file")
        if name not in files:
            files[name] = _read(archive, members[name], room - sum(map(len, files.values())))
        start = int(where.get("offset", 0))
        end = start + int(where["length"]) if "length" in where else len(files[name])
        if not 0 <= start <= end <= len(files[name]):
            raise UnreadableOnnx(f"has weights after the end of {name}; upload the files again")
        left -= end - start
        if left < 0:
            raise UnreadableOnnx("has more weights than its files; upload the files again")
        tensor.raw_data = files[name][start:end]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
