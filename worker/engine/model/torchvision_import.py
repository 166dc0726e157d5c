"""Imports torchvision when torch is a CPU build.

torchvision's wheel is linked against CUDA. With a CPU build of torch its compiled operators cannot be loaded, and
`import torchvision` fails with "operator torchvision::nms does not exist". The engine does not need these operators. If
they cannot be loaded, this module declares the two schemas that the import requires.
"""

import importlib.util
import threading
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
        import torchvision

        module: ModuleType = torchvision
    return module


_lock = threading.Lock()
_declared: list[torch.library.Library] = []
"""Keeps the libraries alive: a declaration ends with its `Library` object."""


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
