"""Explains failures: the one place where exceptions of the engine, and of the user's networks, become problems."""

from collections.abc import Callable
from types import FrameType

import structlog
import torch
from torch import nn

from shared.errors import Internal, InvalidRequest, NetworkFailed, OutOfMemory, Problem
from worker.engine.model.network_call import NetworkError

log = structlog.get_logger()


def explain_failure(error: Exception) -> Problem:
    """Returns the problem that the client gets for an exception.

    Each function of `FAMILIES` knows one family of errors; the first that knows the error explains it.
    """
    for explain in FAMILIES:
        problem = explain(error)
        if problem is not None:
            return problem
    log.exception("job.failed", exc_info=error)
    return Internal(f"{_describe(error)}; this is a fault of the service, please report it")


def explain_problem(error: Exception) -> Problem | None:
    """Returns an error that is a problem already."""
    return error if isinstance(error, Problem) else None


def explain_memory(error: Exception) -> Problem | None:
    """Explains that the memory of the GPU ran out, even for one image at a time."""
    if isinstance(error, torch.OutOfMemoryError):
        return OutOfMemory(f"{error}; ask for a smaller canvas or fewer views")
    return None


def explain_parameters(error: Exception) -> Problem | None:
    """Explains that the parameters do not fit the network, as far as that is known only when the network is loaded."""
    if isinstance(error, ValueError):
        return InvalidRequest(f"{error}; change the request's params")
    return None


def explain_network(error: Exception) -> Problem | None:
    """Explains an exception that the code of the network raised."""
    if isinstance(error, NetworkError):
        log.warning("job.network_failed", exc_info=error)
        return NetworkFailed(f"{error}; the capabilities of the model say what works with it")
    module = find_network_module(error)
    if module is None:
        return None
    log.exception("job.failed", exc_info=error)
    return NetworkFailed(
        f"{_describe(error)}; the network raised this error in its forward pass ({module}): fix its code"
    )


FAMILIES: tuple[Callable[[Exception], Problem | None], ...] = (
    explain_problem,
    explain_memory,
    explain_parameters,
    explain_network,
)


def find_network_module(error: Exception) -> str | None:
    """Returns the Python module whose `forward` raised an error; None if code of the service may have raised it."""
    module: str | None = None
    traceback = error.__traceback__
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in ("worker", "shared"):
            module = None  # also a hook of the engine that the network calls
        elif _is_forward(traceback.tb_frame) and name.partition(".")[0] != "torch":
            module = name
        traceback = traceback.tb_next
    return module


def _is_forward(frame: FrameType) -> bool:
    return frame.f_code.co_name == "forward" and isinstance(frame.f_locals.get("self"), nn.Module)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
