"""Names the layers of an ONNX graph as the author of the network named them, where the file tells."""

import ast
import re
from collections import Counter
from collections.abc import Sequence

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where `torch.onnx.export` writes the names of the modules around a node, the outermost first."""

WORD = re.compile(r"[A-Za-z0-9_-]+")


def name_nodes(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Name the nodes of a graph; all names differ, and none is the beginning of another before a dot.

    A node that is alone in its module has the name of the module, such as `layer1.0.conv1`. Others have the name of
    the operator after it, such as `layer1.0.add`.
    """
    scopes = [find_scope(node) for node in nodes]
    alone = Counter(scopes)
    parents = {
        ".".join(parts[:count]) for scope in scopes for parts in [scope.split(".")] for count in range(len(parts))
    }
    wanted = [
        scope if scope and alone[scope] == 1 and scope not in parents else _join(scope, node.op_type.lower())
        for node, scope in zip(nodes, scopes, strict=True)
    ]
    return _number(wanted, parents)


def find_scope(node: onnx.NodeProto) -> str:
    """Return the name of the module that a node belongs to; empty if the file does not tell."""
    for each in node.metadata_props:
        if each.key == SCOPES:
            return _read_scopes(each.value)
    *path, _ = node.name.split("/")
    parts = [part for part in path if part]
    inner = [part.removeprefix(f"{before}.") for before, part in zip(["", *parts], parts, strict=False)]
    return ".".join(_clean(part) for name in inner for part in name.split("."))


def _read_scopes(text: str) -> str:
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    scope = str(names[-2]) if len(names) > 1 else ""
    return ".".join(_clean(part) for part in scope.split(".")) if scope and not scope.startswith("_empty_") else ""


def _clean(name: str) -> str:
    """Keep what a name of a module may contain, besides dots."""
    return "_".join(WORD.findall(name)) or "_"


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
