"""What has to be there before the service can start: secrets that nobody has thought of, and a bucket.

python -m deploy.setup secrets FOLDER --data REDIS    makes those that are missing, and gives Redis its volume
python -m deploy.setup bucket                         makes the bucket, and says what the store lacks
python -m deploy.setup policy                         prints what an S3 account must be allowed, for exactly its places
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from shared.bucket import Bucket
from shared.errors import Problem, Unavailable
from shared.log import configure_logging
from shared.settings import Settings
from shared.storage import PLACES

log = structlog.get_logger()

STORE_SECONDS = 60
PROBE = "setup/probe"
SERVICE_USER = 10001
REDIS_USER, ACCESS_KEY = "archetype", "archetype"

KEYS = ("archetype:*", "LIMITS:*", "interactive*", "bulk*", "worker.*", "_kombu.*", "unacked*", "*.pidbox*")
"""The service's own, and those of its queues."""

COMMANDS = """
    auth hello select ping multi exec watch unwatch evalsha script|load script|exists
    get set mget incr incrby decrby expire pexpire pttl exists del time
    hget hset hsetnx hmget hgetall hdel hincrby hincrbyfloat sadd srem smembers
    zadd zrem zcard zscore zmscore zincrby zrange zrevrange zrangebyscore zremrangebyrank
    lpush rpush brpop rpop llen lindex ltrim publish psubscribe punsubscribe unsubscribe xadd xread xrevrange
"""
"""What it and its libraries call; nothing that empties, stops, reconfigures or watches the server."""

ACL = (
    "user default off resetpass allkeys allchannels +@all\n"
    "user health on nopass resetkeys resetchannels -@all +ping\n"
    "user {user} on >{password} resetkeys {keys} resetchannels &* -@all {commands}\n"
)
"""Nobody can be `default`, which may do everything: as it, Redis 7 reads its own file when it starts, and leaves out
what that user may not do, with a line in its log (redis/redis #14541). Who asks whether it lives is `health`."""


def make_secrets(folder: Path) -> None:
    """Writes what is missing. A secret that is there stays as it is: what was encrypted or signed with it counts."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "archetype_redis_url").is_file():
        write(folder / "archetype_redis_url", f"redis://{REDIS_USER}:{secrets.token_urlsafe(24)}@redis:6379/0")
    password = urlsplit((folder / "archetype_redis_url").read_text()).password
    if password:  # anew each time: a version may need another command than the one before
        keys, commands = " ".join(f"~{one}" for one in KEYS), " ".join(f"+{one}" for one in COMMANDS.split())
        write(folder / "redis.acl", ACL.format(user=REDIS_USER, password=password, keys=keys, commands=commands))
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


def make_policy(settings: Settings) -> dict[str, Any]:
    """An IAM policy (version 2012-10-17) for the bucket of these settings: nothing but the service's own places.

    Whoever may not list a place is answered 403 where something is missing in it, and not 404, and 404 is what the
    service goes by. A look at what is missing is a request without a prefix: hence `IfExists`.
    """
    bucket = f"arn:aws:s3:::{settings.s3_bucket}"
    ours = [f"{place}/*" for place in PLACES]
    lent = sorted({f"{prefix}*" for prefix in (*settings.picture_prefixes, *settings.weight_prefixes)})
    change = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    allowed: list[dict[str, Any]] = [
        {"Action": change, "Resource": [f"{bucket}/{place}" for place in ours]},
        {"Action": "s3:ListBucket", "Resource": bucket,
         "Condition": {"StringLikeIfExists": {"s3:prefix": [*ours, *lent]}}},
    ]  # fmt: skip
    if lent:
        allowed.append({"Action": "s3:GetObject", "Resource": [f"{bucket}/{place}" for place in lent]})
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in allowed]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    wanted = commands.add_parser("secrets")
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("--data", type=Path, help="a volume that a new engine has given to root")
    commands.add_parser("bucket")
    commands.add_parser("policy")
    options = parser.parse_args()
    if options.what == "secrets":
        make_secrets(options.folder)
        if options.data:
            os.chown(options.data, SERVICE_USER, SERVICE_USER)
    elif options.what == "policy":
        print(json.dumps(make_policy(Settings()), indent=2))
    else:
        settings = Settings()
        configure_logging(settings)
        try:
            make_bucket(settings)
        except Problem as problem:
            log.error("store.unready", error=problem.detail, endpoint=settings.s3_endpoint, waited=STORE_SECONDS)
            sys.exit(1)


if __name__ == "__main__":
    main()
