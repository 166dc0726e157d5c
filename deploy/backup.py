"""A copy of all that the service keeps, and the service made again from it. Redis follows from the store.

python -m deploy.backup save PLACE       copies the bucket that the settings name; what is there already is passed over
python -m deploy.backup restore PLACE    fills the bucket from the copy, and opens what had not ended

A place is a folder, or another store as rclone writes it (`remote:bucket/prefix`). The service may run while it is
saved: what a manifest names was written before it, so manifests are copied first, and put back last.
"""

import argparse
import os
import subprocess
import sys

from deploy.local import find_rclone
from shared.bucket import Bucket
from shared.jobs import Order
from shared.settings import Settings
from shared.storage import PLACES, Storage

HOURS = 12
HOW = (
    "--fast-list", "--use-server-modtime", "--transfers", "16", "--retries", "2", "--low-level-retries", "3",
    "--contimeout", "10s", "--timeout", "60s",
)  # fmt: skip
MANIFESTS = "/jobs/*/manifests/**"
STAYS_HERE = ("open", "setup")
"""Which jobs had not ended follows from the others."""


def save(settings: Settings, place: str) -> None:
    """Raises `RuntimeError` where something was not copied."""
    copy(settings, _bucket(settings), place, "--include", MANIFESTS)
    copy(settings, _bucket(settings), place, *_others())


def restore(settings: Settings, place: str) -> int:
    """Returns how many jobs go on. Raises `RuntimeError` where something was not copied."""
    bucket = Bucket(settings)
    bucket.create()
    copy(settings, place, _bucket(settings), *_others())
    copy(settings, place, _bucket(settings), "--include", MANIFESTS)
    return reopen(Storage(bucket))


def reopen(storage: Storage) -> int:
    """Marks what was accepted and has no manifest as open: the sweep enqueues it."""
    requests, ended = set[str](), set[str]()
    for key in storage.bucket.keys("jobs/"):
        _, job_id, kind, *_ = key.split("/")
        if kind == "request.json":
            requests.add(job_id)
        elif kind == "manifests":
            ended.add(job_id)
    for job_id in requests - ended:
        storage.save_order(job_id, Order.model_validate_json(storage.load_order(job_id)))
    return len(requests - ended)


def copy(settings: Settings, source: str, sink: str, *chosen: str) -> None:
    """Copies what is chosen and is not there yet."""
    command = [find_rclone(), "copy", source, sink, *chosen, *HOW, "--config", os.devnull]
    done = subprocess.run(
        command, env={**os.environ, **_remote(settings)}, capture_output=True, text=True, timeout=HOURS * 3600,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"not everything was copied from {source} to {sink}: {done.stderr.strip()[-1000:]}")


def _others() -> list[str]:
    rules = [f"- {MANIFESTS}", *(f"+ /{place}/**" for place in PLACES if place not in STAYS_HERE), "- *"]
    return [word for rule in rules for word in ("--filter", rule)]


def _bucket(settings: Settings) -> str:
    return f"archetype:{settings.s3_bucket}"


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
    parser.add_argument("place")
    options = parser.parse_args()
    try:
        if options.what == "save":
            save(Settings(), options.place)
        else:
            print(f"{restore(Settings(), options.place)} jobs go on")
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
