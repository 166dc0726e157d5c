"""Fetches the weights of a registered version into a file."""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO

from api.services.mlflow.find_weights import choose_files, list_artifacts
from api.services.mlflow.import_store import PendingImport
from api.services.mlflow.registry import ArtifactFile, MlflowRegistry
from archetype.contract.registration import HUGGING_FACE
from shared.settings import Settings
from shared.validation.imports import ImportRule

CALL_SECONDS = 10.0
DOWNLOAD_SECONDS = 1800.0
"""Limit for the download of one file."""


def fetch_weights(
    pending: PendingImport,
    rule: ImportRule,
    target: IO[bytes],
    settings: Settings,
    check_interrupted: Callable[[], None],
) -> None:
    """Writes the weights of a version into a file; a Hugging Face model folder as an archive.

    Args:
        pending: The version.
        rule: What the operator says about its model.
        target: The file.
        settings: The settings.
        check_interrupted: Called often; may raise an exception to stop.

    Raises:
        RefusedVersion: The version has no weights that can be used.
        NotProxied: The tracking server does not pass on its artifacts.
        TooManyBytes: They are too large.
        RegistryFailed: The registry does not answer.
    """
    registry = MlflowRegistry(settings)
    folder = registry.find_folder(pending.registered_model, pending.version, seconds=CALL_SECONDS)
    files = choose_files(list_artifacts(registry, folder, seconds=CALL_SECONDS), folder, rule)

    def download(file: ArtifactFile, where: IO[bytes], room: int) -> int:
        return registry.download(
            file.path, where, seconds=DOWNLOAD_SECONDS, max_bytes=room, on_chunk=check_interrupted
        ).bytes

    if rule.architecture == HUGGING_FACE:
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
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(files, key=lambda file: file.name):
            with TemporaryFile() as part:
                room -= download(file, part, room)
                part.seek(0)
                with archive.open(zipfile.ZipInfo(file.name), "w", force_zip64=True) as member:
                    shutil.copyfileobj(part, member)
