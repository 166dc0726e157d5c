"""The secrets of a deployment: a folder for each part of the service, one for Redis, and one for the store."""

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.rights import HELD_BY_THE_API, Role, make_redis_user
from deploy.store_guard import make_guard
from shared.settings import Settings

ACL = (
    "user default off resetpass allkeys allchannels +@all\nuser health on nopass resetkeys resetchannels -@all +ping\n"
)
"""The Redis users besides those of the roles. `default` has all rights, but no client can log in as it: Redis 7 replays
its append-only file as `default` and skips commands that the user may not run (redis/redis #14541). Health checks use
`health`."""

STORE_ADDRESS, STORE_SOCKET = ":9000", "/tmp/store.sock"  # noqa: S108 - the container's own
"""Where Caddy listens in the container of the store, and where the store listens behind it."""

ACL_FILE, GUARD_FILE, RCLONE_FILE = "redis/redis.acl", "store/guard.json", "store/rclone_auth"
REDIS_URL, ACCESS_KEY, SECRET_KEY = "archetype_redis_url", "archetype_s3_access_key", "archetype_s3_secret_key"
TOKEN, METRICS_TOKEN = "archetype_operator_token", "archetype_metrics_token"

FOR_CONTAINERS, PRIVATE = 0o444, 0o600
"""Modes of secret files. The user of containers is not the one who creates the files, so the folder protects them."""


@dataclass(frozen=True)
class Credentials:
    """The credentials of one role, from its folder of secrets."""

    redis_url: str
    access_key: str
    secret_key: str

    @property
    def password(self) -> str:
        """The password in Redis."""
        return urlsplit(self.redis_url).password or ""


def read_credentials(folder: Path, role: Role) -> Credentials:
    """Returns the credentials of a role."""
    return Credentials(*((folder / role / name).read_text().strip() for name in (REDIS_URL, ACCESS_KEY, SECRET_KEY)))


def make_secrets(folder: Path, settings: Settings, *, mode: int = FOR_CONTAINERS) -> None:
    """Creates missing secrets: a folder for each role, one for Redis and one for the store.

    Existing secrets are kept, because other data depends on them. What follows from them is written each time, because
    a new version may need other rights.
    """
    make_folder(folder)
    _move_old_secrets(folder)
    for role in Role:
        make_folder(folder / role)
        for name, value in _generate(role).items():
            if not (folder / role / name).is_file():
                write(folder / role / name, value, mode)
    credentials = {role: read_credentials(folder, role) for role in Role}
    users = [make_redis_user(role, own.password) for role, own in credentials.items() if own.password]
    pairs = [f'"{own.access_key},{own.secret_key}"' for own in credentials.values()]
    guard = make_guard(settings, listen=[STORE_ADDRESS], socket=STORE_SOCKET)
    write(folder / ACL_FILE, ACL + "".join(users), mode)
    write(folder / RCLONE_FILE, ",".join(pairs), mode)
    write(folder / GUARD_FILE, json.dumps(guard), mode)


def _generate(role: Role) -> dict[str, str]:
    """Returns new secrets of a role, by the names of their files."""
    generated = {
        REDIS_URL: f"redis://{role.account}:{secrets.token_urlsafe(24)}@redis:6379/0",
        ACCESS_KEY: role.account,
        SECRET_KEY: secrets.token_urlsafe(24),
    }
    tokens = {
        Role.API: {TOKEN: secrets.token_urlsafe(24), METRICS_TOKEN: secrets.token_urlsafe(24)},
        Role.SCHEDULER: {TOKEN: HELD_BY_THE_API},
    }
    return generated | tokens.get(role, {})


def _move_old_secrets(folder: Path) -> None:
    """Moves the secrets of version 0.3, which all parts shared, to the API; removes what is written elsewhere now."""
    for name in (REDIS_URL, SECRET_KEY, TOKEN):
        if (folder / name).is_file():
            make_folder(folder / Role.API)
            shutil.move(folder / name, folder / Role.API / name)  # may be another volume
    for name in ("redis.acl", "rclone_auth"):
        (folder / name).unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Creates a folder that only its owner can open. The mode of an existing one, such as a volume, is kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write(path: Path, text: str, mode: int) -> None:
    """Writes a file atomically. It never has a mode that lets other users read more than `mode` allows."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.chmod(mode)
    temporary.replace(path)
