"""Imports torchvision quickly, and also when torch is a CPU build.

torchvision's wheel is linked against CUDA. With a CPU build of torch its compiled operators cannot be loaded, and
`import torchvision` fails with "operator torchvision::nms does not exist". The engine does not need these operators. If
they cannot be loaded, this module declares the two schemas that the import requires.

One function of the compiler, which is needed only for regions of interest, makes `import torchvision` import the whole
compiler: 2.3 s of 2.8 s. Here it is imported when that function is called.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import torch


@cache
def import_torchvision() -> ModuleType:
    """Returns the torchvision package; afterwards, `import torchvision` works too."""
    with _lock:  # two threads must not declare the schemas twice
        if not _declared and not _load_operators():
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _declared.append(library)
        with _deferring_compiler():
            import torchvision

        module: ModuleType = torchvision
    return module


_lock = threading.Lock()
_declared: list[torch.library.Library] = []
"""Keeps the libraries alive: a declaration ends with its `Library` object."""


COMPILER = "torch._dynamo.utils"


@contextmanager
def _deferring_compiler() -> Iterator[None]:
    """Imports the compiler only when its function is called, if it is not imported yet."""
    if COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(COMPILER)
    setattr(stand_in, is_compile_supported.__name__, is_compile_supported)
    sys.modules[COMPILER] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


def is_compile_supported(device_type: str) -> bool:
    """Whether the compiler supports a type of device."""
    return bool(importlib.import_module(COMPILER).is_compile_supported(device_type))


def _load_operators() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return True
    return False
