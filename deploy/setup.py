"""Prepares a deployment before the first start: random secrets and the bucket.

python -m deploy.setup secrets FOLDER --data REDIS    creates missing secrets; makes Redis the owner of its volume
python -m deploy.setup bucket                         creates the bucket; logs the features that the store lacks
python -m deploy.setup policy ROLE                    prints the IAM policy for the S3 account of a part of the service
python -m deploy.setup acl                            prints the Redis users of all parts, with passwords to replace
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from deploy.credentials import make_secrets
from deploy.rights import Role, make_policy, make_redis_user
from shared.errors import Problem, Unavailable
from shared.process.logging import configure_logging
from shared.settings import Settings
from shared.storage.s3 import Bucket

log = structlog.get_logger()

STORE_SECONDS = 60
PROBE = "setup/probe"
SERVICE_USER = 10001


def make_bucket(settings: Settings) -> None:
    """Waits for the store, creates the bucket and logs which optional features the store lacks."""
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
    """Yields the optional features that the store lacks. The service works without them."""
    bucket.put(PROBE, b"1", media_type="text/plain")
    try:
        if not bucket.supports_conditional_put(PROBE):
            yield "conditional writes (If-None-Match)"
    finally:
        bucket.delete(PROBE)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    secrets_parser = commands.add_parser("secrets", help="create missing secrets")
    secrets_parser.add_argument("folder", type=Path, help="folder of the secrets")
    secrets_parser.add_argument("--data", type=Path, help="volume of Redis, which the engine creates for root")
    commands.add_parser("bucket", help="create the bucket")
    policy_parser = commands.add_parser("policy", help="print the IAM policy of a part of the service")
    policy_parser.add_argument("role", nargs="?", type=Role, choices=list(Role), default=Role.API)
    commands.add_parser("acl", help="print the Redis users of all parts, with passwords to replace")
    options = parser.parse_args()
    if options.command == "secrets":
        make_secrets(options.folder, Settings())
        if options.data:
            os.chown(options.data, SERVICE_USER, SERVICE_USER)
    elif options.command == "policy":
        print(json.dumps(make_policy(Settings(), options.role), indent=2))
    elif options.command == "acl":
        print("".join(make_redis_user(role, f"PASSWORD-OF-{role}") for role in Role), end="")
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
