"""Fetches the weights of a registered version into a file."""

import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO

from api.services.mlflow.find_weights import choose_files, list_artifacts
from api.services.mlflow.import_store import PendingImport
from api.services.mlflow.registry import ArtifactFile, MlflowRegistry, NoRoom, RegistryFailed
from archetype.contract.registration import HUGGING_FACE
from shared.settings import Settings
from shared.validation.imports import ImportRule

CALL_SECONDS = 10.0
"""Limit for a call that is not a download."""

FETCH_SECONDS = 1800.0
"""Limit for all calls and downloads of a version together."""


def fetch_weights(pending: PendingImport, rule: ImportRule, target: IO[bytes], settings: Settings) -> None:
    """Writes the weights of a version into a file; several files as an archive.

    Args:
        pending: The version.
        rule: What the operator says about its model.
        target: The file.
        settings: The settings.

    Raises:
        RefusedVersion: The version has no weights that can be used.
        NotProxied: The tracking server does not pass on its artifacts.
        TooManyBytes: They are too large.
        NoRoom: They cannot be stored on this machine.
        RegistryFailed: The registry does not answer, or not in time.
    """
    registry, end = MlflowRegistry(settings), time.monotonic() + FETCH_SECONDS

    def left(limit: float = FETCH_SECONDS) -> float:
        seconds = min(limit, end - time.monotonic())
        if seconds <= 0:
            raise RegistryFailed(f"the version was not fetched within {FETCH_SECONDS:g} s")
        return seconds

    def call() -> float:
        return left(CALL_SECONDS)

    folder = registry.find_folder(pending.registered_model, pending.version, seconds=call())
    files = choose_files(list_artifacts(registry, folder, seconds=call), folder, rule)

    def download(file: ArtifactFile, where: IO[bytes], room: int) -> int:
        return registry.download(file.path, where, seconds=left(), max_bytes=room)

    if rule.architecture == HUGGING_FACE or len(files) > 1:
        _pack(files, target, settings.max_weights_bytes, download)
    else:
        download(files[0], target, settings.max_weights_bytes)


def _pack(
    files: Sequence[ArtifactFile],
    target: IO[bytes],
    room: int,
    download: Callable[[ArtifactFile, IO[bytes], int], int],
) -> None:
    """Writes files as an archive with fixed times, so that equal files are equal archives."""
    try:
        with zipfile.ZipFile(target, "w") as archive:
            for file in sorted(files, key=lambda file: file.name):
                with TemporaryFile() as part:
                    room -= download(file, part, room)
                    part.seek(0)
                    with archive.open(zipfile.ZipInfo(file.name), "w", force_zip64=True) as member:
                        shutil.copyfileobj(part, member)
    except OSError as error:
        raise NoRoom(f"the scheduler cannot store the weights temporarily ({error.strerror})") from error
