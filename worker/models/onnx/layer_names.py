"""Names the layers of an ONNX graph as the author of the network named them, where the file tells."""

import ast
import re
from collections import Counter
from collections.abc import Sequence

import onnx
from torch import nn

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where `torch.onnx.export` writes the names of the modules around a node, the outermost first."""

WORD = re.compile(r"[A-Za-z0-9_-]+")

MAX_DEPTH = 30
"""Modules in modules; a deeper name is no name of an author."""

RESERVED = {name for name in dir(nn.Module()) if not name.startswith("__")} | {
    "_input",
    "_outputs",
    "_steps",
    "_channels_last",
}
"""Names that a module of a network cannot have."""


def name_nodes(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Names the nodes of a graph; all names differ, and none is the beginning of another before a dot.

    A node that is alone in its module has the name of the module, such as `layer1.0.conv1`. Others have the name of
    the operator after it, such as `layer1.0.add`.
    """
    scopes = [find_scope(node) for node in nodes]
    alone = Counter(scopes)
    parents = {scope for scope, count in alone.items() if count > 1}
    for scope in scopes:
        parts = scope.split(".")
        parents |= {".".join(parts[:count]) for count in range(len(parts))}
    wanted = [
        scope if scope and alone[scope] == 1 and scope not in parents else _join(scope, node.op_type.lower())
        for node, scope in zip(nodes, scopes, strict=True)
    ]
    return _number(wanted, parents)


def find_scope(node: onnx.NodeProto) -> str:
    """Returns the name of the module that a node belongs to; empty if the file does not tell."""
    for each in node.metadata_props:
        if each.key == SCOPES:
            return _clean(_read_scopes(each.value).split("."))
    *path, _ = node.name.split("/")
    parts = [part for part in path if part]
    inner = [part.removeprefix(f"{before}.") for before, part in zip(["", *parts], parts, strict=False)]
    return _clean([part for name in inner for part in name.split(".")])


def _read_scopes(text: str) -> str:
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ""
    if not isinstance(names, list) or len(names) < 2 or not isinstance(names[-2], str):
        return ""
    return "" if names[-2].startswith("_empty_") else names[-2]


def _clean(parts: Sequence[str]) -> str:
    """Joins names of modules; only what such a name may contain is kept."""
    if len(parts) > MAX_DEPTH or not any(parts):
        return ""
    cleaned = ["_".join(WORD.findall(part)) or "_" for part in parts]
    return ".".join(f"{part}_" if part in RESERVED else part for part in cleaned)


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _number(names: Sequence[str], parents: set[str]) -> list[str]:
    total, seen, taken = Counter(names), Counter[str](), set(parents)
    numbered = []
    for name in names:
        unique = name
        while unique in taken or (total[name] > 1 and unique == name):
            unique = f"{name}_{seen[name]}"
            seen[name] += 1
        taken.add(unique)
        numbered.append(unique)
    return numbered
