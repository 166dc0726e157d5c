"""Reads the tensors of files that `torch.save` wrote, without running code of the file.

`torch.load` with `weights_only=True` reads them. It refuses a file that contains an object of a class that it does not
know, such as `argparse.Namespace`. Here such a class is replaced by an empty stand-in, which ignores its arguments and
its state: nothing of the file's class is imported or called. Tensors are read by PyTorch alone.
"""

import pickle
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from worker.models.checkpoint.formats import SAVE_AGAIN, TRUNCATED, UnreadableWeights

MAX_CLASSES = 300
"""Number of unknown classes in a file; each may need another attempt to read it."""

MAX_EXPANSION, SMALL_TENSORS = 4, 64_000_000
"""How many times the size of its file the tensors may have, if they share values, and how many bytes in any case."""

CODE = {
    *("eval", "exec", "compile", "open", "getattr", "setattr", "delattr", "globals", "vars", "input", "breakpoint"),
    *("__import__", "__build_class__", "builtins", "io.open", "_io.open"),
}
"""Functions that no checkpoint needs. A file with one of them is refused as suspicious, although it could be read: what
protects is that nothing of a file is called, and not this list.
"""

CODE_PACKAGES = {
    *("os", "posix", "nt", "sys", "subprocess", "socket", "shutil", "importlib", "runpy", "ctypes", "pty", "code"),
    *("codeop", "webbrowser", "marshal", "pickle", "_pickle", "dill", "cloudpickle", "multiprocessing", "asyncio"),
    *("pip", "commands", "urllib", "http", "requests", "tempfile", "timeit", "pdb", "cProfile", "profile", "trace"),
}


class StandIn:
    """Stands for an object of a class of the file; it keeps nothing of it."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Creates a stand-in, whatever the arguments are."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Ignores the arguments."""

    def __setstate__(self, _state: Any) -> None:
        """Ignores the state."""


class MappingStandIn:
    """Stands for an object of a class that is a dictionary: it becomes an ordered dictionary."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        """Returns an empty dictionary, which the file fills."""
        return OrderedDict()


@dataclass
class StandIns:
    """The stand-ins of the classes that PyTorch does not know, by their names in the file."""

    by_name: dict[str, type] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Adds an empty stand-in for a class. Raises `UnreadableWeights` for a damaged name, and for that of code."""
        if not name.isprintable():
            raise UnreadableWeights(TRUNCATED)
        if name in CODE or name.partition(".")[0] in CODE_PACKAGES:
            raise UnreadableWeights(f"refers to `{name}`, which is code and not weights; {SAVE_AGAIN}")
        path = name if "." in name else f"builtins.{name}"
        if len(self.by_name) == MAX_CLASSES or path in self.by_name:
            raise UnreadableWeights(f"contains objects of too many classes, such as `{name}`; {SAVE_AGAIN}")
        self.by_name[path] = type(path, (StandIn,), {"__module__": "stand_in"})

    def make_mapping(self, name: str) -> None:
        """Replaces the stand-in of a class by one that is a dictionary."""
        if name not in self.by_name or issubclass(self.by_name[name], MappingStandIn):
            raise UnreadableWeights(f"contains an object of `{name}`, which cannot be read; {SAVE_AGAIN}")
        self.by_name[name] = type(name, (MappingStandIn,), {"__module__": "stand_in"})


def read_pickle(path: Path) -> tuple[Any, list[str]]:
    """Reads a file that `torch.save` wrote.

    Returns:
        The content, and the names of the classes whose objects were replaced by stand-ins.

    Raises:
        UnreadableWeights: The file is damaged, or refers to code.
    """
    stand_ins = StandIns()
    while True:
        try:
            content = _load(path, stand_ins)
            _check_expansion(content, path.stat().st_size)
            return content, sorted(stand_ins.by_name)
        except pickle.UnpicklingError as error:
            _explain(str(error), stand_ins)
        except EOFError as error:
            raise UnreadableWeights(TRUNCATED) from error
        except Exception as error:  # a damaged file may raise anything
            raise _describe(error) from error


def _load(path: Path, stand_ins: StandIns) -> Any:
    named: list[Any] = [(stand_in, name) for name, stand_in in stand_ins.by_name.items()]
    with path.open("rb") as file, torch.serialization.safe_globals(named), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # With a path, torch would choose the format by the file name.
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_expansion(content: Any, size: int) -> None:
    """Raises `UnreadableWeights` if tensors have far more values than the file: views of few values, or sparse ones."""
    total, todo, seen = 0, [content], set[int]()
    while todo:
        each = todo.pop()
        if isinstance(each, torch.Tensor):
            total += 0 if each.is_meta else each.numel() * each.element_size()
        elif isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            todo += each.values() if isinstance(each, dict) else each
    if total > MAX_EXPANSION * size + SMALL_TENSORS:
        raise UnreadableWeights(f"has {size} bytes, and tensors that expand to {total}; {SAVE_AGAIN}")


def _explain(message: str, stand_ins: StandIns) -> None:
    """Adds what a file lacks according to the unpickler's message; raises `UnreadableWeights` if nothing helps."""
    unknown = re.search(r"GLOBAL (\S+) was not an allowed global", message)
    blocked = re.search(r"GLOBAL (\S+) whose module", message)
    mapping = re.search(r"Can only SETITEMS? .* but got <class 'stand_in\.(\S+)'>", message)
    operand = re.search(r"Unsupported operand (\d+)", message)
    if unknown or blocked:
        stand_ins.add((unknown or blocked)[1])  # type: ignore[index]
    elif mapping:
        stand_ins.make_mapping(mapping[1])
    elif operand:
        raise UnreadableWeights(
            "was written with a pickle protocol that PyTorch does not read safely; save it again with "
            "`torch.save(network.state_dict(), path)` without `pickle_protocol`"
        )
    else:
        names = f", such as `{next(iter(stand_ins.by_name))}`" if stand_ins.by_name else ""
        raise UnreadableWeights(f"contains objects that are not tensors{names}; {SAVE_AGAIN}")


def _describe(error: Exception) -> UnreadableWeights:
    if isinstance(error, UnreadableWeights):
        return error
    text = str(error)
    if "central directory" in text or "unexpected EOF" in text or "PytorchStreamReader" in text or "corrupt" in text:
        return UnreadableWeights(TRUNCATED)
    return UnreadableWeights(f"contains something that PyTorch cannot read ({type(error).__name__}); {SAVE_AGAIN}")
