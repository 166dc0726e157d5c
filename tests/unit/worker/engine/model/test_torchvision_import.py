"""The import of torchvision: without the compiler, which takes most of its time."""

import subprocess
import sys

SCRIPT = """
import sys
from worker.engine.model.torchvision_import import import_torchvision

import_torchvision()
assert "torch._dynamo" not in sys.modules
roi_align = sys.modules["torchvision.ops.roi_align"]
assert roi_align.is_compile_supported("cpu") is True
assert hasattr(sys.modules["torch._dynamo.utils"], "compile_times")
import torch

assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


def test_torchvision_is_imported_without_the_compiler_which_still_works() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
