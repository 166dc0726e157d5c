"""A copy of all that the service keeps, and the service made again from it. Redis follows from the store.

python -m deploy.backup save FOLDER       copies the bucket that the settings name
python -m deploy.backup restore FOLDER    fills the bucket from the copy, and opens what had not ended

The service may run while it is saved: what a manifest names was written before it, so manifests are copied first, and
put back last. What comes and goes is left out: checkpoints, messages and verdicts that are still to be delivered, and
idempotency keys.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.local import find_rclone
from shared.bucket import Bucket
from shared.errors import Unavailable
from shared.settings import Settings
from shared.storage import JSON, PLACES

HOURS = 12
HOW = (
    "--fast-list", "--use-server-modtime", "--transfers", "16", "--retries", "1", "--low-level-retries", "3",
    "--contimeout", "10s", "--timeout", "60s",
)  # fmt: skip
TRIES = 3
"""What is deleted between the list of a place and its copy is missed once, and not listed the next time."""

MANIFESTS, CHECKPOINTS = "/*/manifests/**", "/*/checkpoints/**"
PASSING = {"open", "setup", "outbox", "writebacks", "keys"}
FIRST = ("jobs", ("--include", MANIFESTS))
OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("jobs", ("--exclude", MANIFESTS, "--exclude", CHECKPOINTS)),
    *((place, ()) for place in PLACES if place != "jobs" and place not in PASSING),
)
"""One place at a time, as the policy of the store has it. Which jobs had not ended follows from the others."""


def save(settings: Settings, folder: Path) -> None:
    """Raises `RuntimeError` where something was not copied, `Unavailable` where there is no bucket."""
    bucket = Bucket(settings)
    bucket.ping()
    for what, chosen in (FIRST, *OTHERS):
        if next(bucket.keys(f"{what}/"), None) is not None:
            copy(settings, f"archetype:{settings.s3_bucket}/{what}", str(folder / what), chosen)


def restore(settings: Settings, folder: Path) -> int:
    """Returns how many jobs go on. Raises `RuntimeError` where something was not copied, or there is no copy."""
    if not any((folder / what).is_dir() for what in PLACES):
        raise RuntimeError(f"{folder} holds no copy: it has none of {', '.join(PLACES)}")
    bucket = Bucket(settings)
    bucket.create()
    for what, chosen in (*OTHERS, FIRST):
        if (folder / what).is_dir():
            copy(settings, str(folder / what), f"archetype:{settings.s3_bucket}/{what}", chosen)
    return reopen(bucket)


def reopen(bucket: Bucket) -> int:
    """Marks what was accepted and has no manifest as open: the sweep enqueues it."""
    requests, ended = set[str](), set[str]()
    for key in bucket.keys("jobs/"):
        _, job_id, kind, *_ = key.split("/")
        (requests if kind == "request.json" else ended if kind == "manifests" else set[str]()).add(job_id)
    for job_id in requests - ended:
        bucket.put(f"open/{job_id}", b"", media_type=JSON)
    return len(requests - ended)


def copy(settings: Settings, source: str, sink: str, chosen: tuple[str, ...]) -> None:
    """Copies what is chosen of a place and is not there yet."""
    command = [find_rclone(), "copy", source, sink, *chosen, *HOW, "--config", os.devnull]
    env = {**os.environ, **_remote(settings)}
    for _ in range(TRIES):
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=HOURS * 3600, check=False)
        if not done.returncode:
            return
    raise RuntimeError(f"not everything was copied from {source} to {sink}: {done.stderr.strip()[-1000:]}")


def _remote(settings: Settings) -> dict[str, str]:
    """The store, as rclone reads it from the environment."""
    said = {
        "type": "s3", "provider": "Other" if settings.s3_endpoint else "AWS", "region": settings.s3_region,
        "endpoint": settings.s3_endpoint or "", "access_key_id": settings.s3_access_key,
        "secret_access_key": settings.s3_secret_key.get_secret_value(), "no_check_bucket": "true",
    }  # fmt: skip
    ours = {f"RCLONE_CONFIG_ARCHETYPE_{name.upper()}": value for name, value in said.items()}
    return ours | ({"RCLONE_CA_CERT": str(settings.ca)} if settings.ca else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("save", "restore"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        if options.what == "save":
            save(Settings(), options.folder)
        else:
            print(f"{restore(Settings(), options.folder)} jobs go on")
    except (RuntimeError, Unavailable, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
