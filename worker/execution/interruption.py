"""Interrupts a batch when a job is cancelled or lost, or the worker stops; ends the process if its GPU is broken."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import torch

from worker.execution.attempt import Attempt
from worker.execution.heartbeat import HeartbeatThread

log = structlog.get_logger()


class Interrupted(Exception):
    """A job of the batch was cancelled or lost, or the worker must stop; the batch runs again without that job."""


class InterruptionCheck:
    """Checks before every forward pass whether the attempts that use the network may go on."""

    def __init__(self, heartbeats: HeartbeatThread, stopping: threading.Event) -> None:
        self._heartbeats = heartbeats
        self._stopping = stopping
        self._active: Sequence[Attempt] = ()

    @contextmanager
    def watching(self, attempts: Sequence[Attempt]) -> Iterator[None]:
        """Checks these attempts, and no others, until the block ends."""
        before, self._active = self._active, attempts
        self._heartbeats.show_activity()
        try:
            yield
        finally:
            self._active = before

    def check_interrupted(self) -> None:
        """Raises an exception if the forward pass must not run.

        Raises:
            Interrupted: The worker must stop, or one attempt of several must end.
            ClaimLost: The only attempt has lost its claim.
            Cancelled: The job of the only attempt was cancelled.
            TimeLimitExceeded: The only attempt has run for too long.
        """
        self._heartbeats.show_activity()
        if self._stopping.is_set():
            raise Interrupted
        if len(self._active) == 1:
            self._active[0].heartbeat.check()
        elif any(attempt.heartbeat.must_end for attempt in self._active):
            raise Interrupted


def exit_if_broken(device: torch.device) -> None:
    """Ends this process if its GPU no longer works: later jobs would fail or, worse, return wrong results."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            log.exception("device.broken")
            os._exit(1)
