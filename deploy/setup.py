"""What has to be there before the service can start: secrets that nobody has thought of, and a bucket.

python -m deploy.setup secrets FOLDER --data REDIS    makes those that are missing, and gives Redis its volume
python -m deploy.setup bucket                         makes the bucket, and says what the store lacks
"""

import argparse
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from shared.bucket import Bucket
from shared.errors import Unavailable
from shared.log import configure_logging
from shared.settings import Settings

log = structlog.get_logger()

STORE_SECONDS = 60
PROBE = "setup/probe"
SERVICE_USER = 10001
REDIS_USER, ACCESS_KEY = "archetype", "archetype"

ACL = (
    "user default on nopass resetkeys resetchannels -@all +ping\n"
    "user {user} on >{password} resetkeys "
    "~archetype:* ~LIMITS:* ~interactive* ~bulk* ~worker.* ~_kombu.* ~unacked* ~*.pidbox* resetchannels &* -@all "
    "+@read +@write +@transaction +@scripting +@pubsub +@connection +@fast +@slow -@dangerous +keys +info\n"
)
"""The service's own keys, and those of its queues; nothing that stops, empties or reconfigures the server."""


def make_secrets(folder: Path) -> None:
    """Writes what is missing. A secret that is there stays as it is: what was encrypted or signed with it counts."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "redis.acl").is_file():
        password = secrets.token_urlsafe(24)
        write(folder / "archetype_redis_url", f"redis://{REDIS_USER}:{password}@redis:6379/0")
        write(folder / "redis.acl", ACL.format(user=REDIS_USER, password=password))
    if not (folder / "rclone_auth").is_file():
        key = secrets.token_urlsafe(24)
        write(folder / "archetype_s3_secret_key", key)
        write(folder / "rclone_auth", f'"{ACCESS_KEY},{key}"')
    if not (folder / "archetype_operator_token").is_file():
        write(folder / "archetype_operator_token", secrets.token_urlsafe(24))


def write(path: Path, text: str) -> None:
    """Whole or not at all; for whoever can see the folder, which only the service's containers can."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o444)
    fresh.replace(path)


def make_bucket(settings: Settings) -> None:
    """Waits for the store, makes the bucket, and tries what not every store has."""
    bucket, limit = Bucket(settings), time.monotonic() + STORE_SECONDS
    while True:
        try:
            bucket.create()
            break
        except Unavailable:
            if time.monotonic() > limit:
                raise
            time.sleep(0.5)
    log.info("store.ready", bucket=settings.s3_bucket, lacking=list(find_lacking(bucket)))


def find_lacking(bucket: Bucket) -> Iterator[str]:
    """What the store cannot do, by trying. The service needs none of it; whoever chooses a store may want to know."""
    bucket.put(PROBE, b"1", media_type="text/plain")
    try:
        if not bucket.keeps_first(PROBE):
            yield "conditional writes (If-None-Match)"
    finally:
        bucket.delete(PROBE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    wanted = commands.add_parser("secrets")
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("--data", type=Path, help="a volume that a new engine has given to root")
    commands.add_parser("bucket")
    options = parser.parse_args()
    if options.what == "secrets":
        make_secrets(options.folder)
        if options.data:
            os.chown(options.data, SERVICE_USER, SERVICE_USER)
    else:
        settings = Settings()
        configure_logging(settings)
        make_bucket(settings)


if __name__ == "__main__":
    main()
