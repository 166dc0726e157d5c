"""Backup and restore of the bucket. The service rebuilds the contents of Redis from the bucket.

python -m deploy.backup save FOLDER       copies the bucket of the settings to a folder
python -m deploy.backup restore FOLDER    copies the folder to the bucket and reopens unfinished jobs

The service may run during a backup: a manifest is written after the artifacts that it names, so manifests are copied
first and restored last. Short-lived objects are left out: checkpoints, undelivered webhooks and MLflow updates, and
idempotency keys.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.command import run_command
from deploy.servers import find_rclone
from shared.errors import Unavailable
from shared.settings import Settings
from shared.storage.layout import PREFIXES
from shared.storage.s3 import JSON, Bucket

TIMEOUT_HOURS = 12
RCLONE_OPTIONS = ["--fast-list", "--use-server-modtime", "--transfers", "16", "--retries", "1"]
RCLONE_OPTIONS += ["--low-level-retries", "3", "--contimeout", "10s", "--timeout", "60s"]
ATTEMPTS = 3
"""A copy fails if an object is deleted between listing and copying. The next attempt does not list it any more."""

MANIFESTS, CHECKPOINTS = "/*/manifests/**", "/*/checkpoints/**"
SHORT_LIVED = {"open", "setup", "outbox", "writebacks", "keys"}

Part = tuple[str, tuple[str, ...]]
"""A prefix of the bucket, and the options of rclone that select objects under it."""

FIRST: Part = ("jobs", ("--include", MANIFESTS))
REST: tuple[Part, ...] = (
    ("jobs", ("--exclude", MANIFESTS, "--exclude", CHECKPOINTS)),
    *((prefix, ()) for prefix in PREFIXES if prefix != "jobs" and prefix not in SHORT_LIVED),
)
"""One prefix at a time, because the policy of the store allows only these. `open/` is rebuilt by `reopen`."""


def save(settings: Settings, folder: Path) -> None:
    """Copies the bucket to a folder.

    Raises:
        RuntimeError: Some objects were not copied.
        Unavailable: The store or the bucket is not available.
    """
    bucket = Bucket(settings)
    bucket.ping()
    for prefix, selection in (FIRST, *REST):
        if next(bucket.keys(f"{prefix}/"), None) is not None:
            copy(settings, f"archetype:{settings.s3_bucket}/{prefix}", str(folder / prefix), selection)


def restore(settings: Settings, folder: Path) -> int:
    """Copies a backup to the bucket and reopens unfinished jobs.

    Returns:
        The number of jobs that continue.

    Raises:
        RuntimeError: The folder contains no backup, or some objects were not copied.
    """
    if not any((folder / prefix).is_dir() for prefix in PREFIXES):
        raise RuntimeError(f"{folder} contains no backup: it has none of the folders {', '.join(PREFIXES)}")
    bucket = Bucket(settings)
    bucket.create()
    for prefix, selection in (*REST, FIRST):
        if (folder / prefix).is_dir():
            copy(settings, str(folder / prefix), f"archetype:{settings.s3_bucket}/{prefix}", selection)
    return reopen(bucket)


def reopen(bucket: Bucket) -> int:
    """Marks accepted jobs without a manifest as open, so that the recovery of a worker enqueues them."""
    requests, ended = set[str](), set[str]()
    for key in bucket.keys("jobs/"):
        _, job_id, kind, *_ = key.split("/")
        (requests if kind == "request.json" else ended if kind == "manifests" else set[str]()).add(job_id)
    for job_id in requests - ended:
        bucket.put(f"open/{job_id}", b"", media_type=JSON)
    return len(requests - ended)


def copy(settings: Settings, source: str, target: str, selection: tuple[str, ...]) -> None:
    """Copies selected objects that the target does not have. Raises `RuntimeError` if some were not copied."""
    command = [find_rclone(), "copy", source, target, *selection, *RCLONE_OPTIONS, "--config", os.devnull]
    env = {**os.environ, **_remote(settings)}
    for _ in range(ATTEMPTS):
        result = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=TIMEOUT_HOURS * 3600, check=False
        )
        if not result.returncode:
            return
    raise RuntimeError(f"some objects were not copied from {source} to {target}: {result.stderr.strip()[-1000:]}")


def _remote(settings: Settings) -> dict[str, str]:
    """Returns the configuration of the store as environment variables of rclone."""
    config = {
        "type": "s3",
        "provider": "Other" if settings.s3_endpoint else "AWS",
        "region": settings.s3_region,
        "endpoint": settings.s3_endpoint or "",
        "access_key_id": settings.s3_access_key,
        "secret_access_key": settings.s3_secret_key.get_secret_value(),
        "no_check_bucket": "true",
    }
    variables = {f"RCLONE_CONFIG_ARCHETYPE_{name.upper()}": value for name, value in config.items()}
    return variables | ({"RCLONE_CA_CERT": str(settings.ca_bundle)} if settings.ca_bundle else {})


def main() -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("save", "restore"))
    parser.add_argument("folder", type=Path, help="folder of the backup")
    options = parser.parse_args()
    try:
        if options.command == "save":
            save(Settings(), options.folder)
        else:
            print(f"restored; {restore(Settings(), options.folder)} unfinished jobs continue")
    except (RuntimeError, Unavailable, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
