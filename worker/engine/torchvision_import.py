"""Makes `import torchvision` work beside a CPU build of torch.

torchvision's wheel is linked against CUDA. Where torch is a CPU build its compiled operators cannot load, and the
import dies with "operator torchvision::nms does not exist". Nothing here needs those operators: if they cannot be
loaded, their two schemas are declared, which is all that the import asks for.
"""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch


@cache
def import_torchvision() -> ModuleType:
    """The torchvision package, importable from now on by its usual name too."""
    if not _load_operators():
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
    import torchvision

    module: ModuleType = torchvision
    return module


_declared: list[torch.library.Library] = []
"""Declarations live as long as their Library does."""


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
