"""The secrets of a local stack: random, kept between runs, and readable only by the account that runs it."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploy.credentials import ACL_FILE, PRIVATE, RCLONE_FILE, TOKEN, make_folder, make_secrets, read_credentials, write
from deploy.rights import HELD_BY_THE_API, SECRETS, Role
from deploy.store_guard import make_guard
from shared.settings import Settings

ADMIN = "admin"
"""The Redis user with all rights, for the owner of the stack."""

ADMIN_FILE = "redis/admin_password"


@dataclass(frozen=True)
class LocalSecrets:
    """The secrets of a local stack.

    Attributes:
        folder: The folder of the secrets, in the folder of the stack.
    """

    folder: Path

    @classmethod
    def create(cls, stack: Path, settings: Settings) -> "LocalSecrets":
        """Creates the secrets of a stack that are missing. Files get mode 0600, folders 0700."""
        created = cls(stack / "secrets")
        make_secrets(created.folder, settings, mode=PRIVATE)
        if not (created.folder / ADMIN_FILE).is_file():
            write(created.folder / ADMIN_FILE, secrets.token_urlsafe(24), PRIVATE)
        password = (created.folder / ADMIN_FILE).read_text()
        roles = (created.folder / ACL_FILE).read_text()
        write(created.folder / ACL_FILE, f"{roles}user {ADMIN} on >{password} allkeys allchannels +@all\n", PRIVATE)
        return created

    @property
    def acl(self) -> Path:
        """The ACL file of Redis."""
        return self.folder / ACL_FILE

    @property
    def rclone_keys(self) -> str:
        """The access keys of the store, in the form that rclone reads."""
        return (self.folder / RCLONE_FILE).read_text()

    def write_guard(self, settings: Settings, listen: list[str], socket: Path) -> Path:
        """Writes the configuration of Caddy and returns its path."""
        path = self.folder / "store" / "local_guard.json"
        write(path, json.dumps(make_guard(settings, listen=listen, socket=str(socket))), PRIVATE)
        return path

    def load_operator_token(self) -> SecretStr:
        """Returns the operator token, which is in the folder of the stack too, where users look for it."""
        path = self.folder.parent / "operator-token"
        if not path.is_file():
            write(path, (self.folder / Role.API / TOKEN).read_text(), PRIVATE)
        return SecretStr(path.read_text().strip())

    def settings_of_owner(self, settings: Settings) -> Settings:
        """Returns the settings of the stack's owner: all rights in Redis and in the store."""
        password = (self.folder / ADMIN_FILE).read_text()
        url = _with_login(settings.redis_url, ADMIN, password)
        return settings.model_copy(update=self._login(Role.API, settings) | {"redis_url": url})

    def settings_of(self, role: Role, settings: Settings) -> Settings:
        """Returns the settings of a part of the service: with its own credentials, without the secrets of others."""
        hidden: dict[str, SecretStr | None] = {
            name: None for name in list_secrets() if SECRETS.get(name, Role.API) is not role
        }
        if role is Role.SCHEDULER and settings.operator_token is not None:
            hidden["operator_token"] = SecretStr(HELD_BY_THE_API)
        return settings.model_copy(update={**hidden, **self._login(role, settings)})

    def _login(self, role: Role, settings: Settings) -> dict[str, Any]:
        own = read_credentials(self.folder, role)
        return {
            "redis_url": _with_login(settings.redis_url, role.account, own.password),
            "s3_access_key": own.access_key,
            "s3_secret_key": SecretStr(own.secret_key),
        }


def list_secrets() -> list[str]:
    """Returns the names of all settings that are secrets of a single part of the service."""
    optional = {name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None}
    return sorted(optional)


def protect(folder: Path) -> None:
    """Creates the folder of a stack, and makes its data and logs readable only by their owner."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("log", "redis", "s3", "secrets"):
        make_folder(folder / name)
        (folder / name).chmod(0o700)


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{password}@{address}").geturl()
