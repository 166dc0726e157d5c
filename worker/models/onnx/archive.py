"""Reads an ONNX file, or an untrusted ZIP file of it and of its weights, which `torch.onnx.export` writes beside it."""

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx

from shared.media.zip_file import READ_ERRORS, open_zip

MAX_MEMBERS = 100

MAX_BYTES = 2_000_000_000
"""Largest size of a member, and of a whole model, which protobuf cannot exceed."""

ONE_FILE = (
    "save it as one file with `torch.onnx.export(…, external_data=False)`, or upload a ZIP file of both; "
    "`archetype models add` packs NAME.onnx and NAME.onnx.data"
)


class UnreadableOnnx(ValueError):
    """A file that is no complete ONNX model; the message is a sentence without its subject."""


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model from an ONNX file, or from a ZIP file that contains it with the files of its weights.

    Raises:
        UnreadableOnnx: The ZIP file is damaged or too large, or a file of weights is missing.
        Exception: The file is not ONNX; protobuf has no public class for this.
    """
    if not zipfile.is_zipfile(path):
        model = onnx.load(path, load_external_data=False)
        outside = [tensor for tensor in list_tensors(model.graph) if _is_outside(tensor)]
        if outside:
            raise UnreadableOnnx(f"has the values of {len(outside)} weights in another file; {ONE_FILE}")
        return model
    try:
        with path.open("rb") as file, open_zip(file, max_members=MAX_MEMBERS) as archive:
            members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
            models = [name for name in members if name.endswith(".onnx")]
            if len(models) != 1:
                raise UnreadableOnnx(f"is a ZIP file with {len(models)} ONNX files; it must have one")
            model = onnx.load_from_string(_read(archive, members[models[0]]))
            _fill(model, archive, members)
            return model
    except UnreadableOnnx:
        raise
    except READ_ERRORS as error:
        raise UnreadableOnnx(f"is a ZIP file that cannot be unpacked ({str(error)[:200]})") from error


def list_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield all constants of a graph, and of the graphs in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from list_tensors(inner)


def _is_outside(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnreadableOnnx(f"is a ZIP file in which {info.filename[:100]} has more than {MAX_BYTES // 10**9} GB")
    return data


def _fill(model: onnx.ModelProto, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
    """Put the values of weights that are in other members into the model. Paths are never followed."""
    files: dict[str, bytes] = {}
    for tensor in list_tensors(model.graph):
        if not _is_outside(tensor):
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        name = PurePosixPath(where.get("location", "")).name
        if name not in members:
            raise UnreadableOnnx(f"has weights in {name or 'a file without a name'}, which is not in the ZIP file")
        if name not in files:
            files[name] = _read(archive, members[name])
        start = int(where.get("offset", 0))
        end = start + int(where["length"]) if "length" in where else len(files[name])
        if not 0 <= start <= end <= len(files[name]):
            raise UnreadableOnnx(f"has weights after the end of {name}; upload the files again")
        tensor.raw_data = files[name][start:end]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
