"""Files of secrets: created once, protected, and moved from where version 0.3 had them."""

from pathlib import Path

from deploy.credentials import make_secrets, read_credentials
from deploy.rights import HELD_BY_THE_API, Role
from shared.settings import Settings

TOKEN = "api/archetype_operator_token"


def read_all(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_secrets_are_created_once_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder, Settings())
    assert folder.stat().st_mode & 0o077 == 0
    before = read_all(folder)
    (folder / TOKEN).unlink()
    make_secrets(folder, Settings())
    after = read_all(folder)
    assert {name for name in before if before[name] != after[name]} == {TOKEN}


def test_no_two_parts_share_a_secret_and_only_the_api_has_the_operator_token(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets", Settings())
    folders = {role: read_all(tmp_path / "secrets" / role) for role in Role}
    values = [value for folder in folders.values() for value in folder.values()]
    assert len(values) == len(set(values))
    tokens = {role: folder["archetype_operator_token"] for role, folder in folders.items() if TOKEN[4:] in folder}
    assert set(tokens) == {Role.API, Role.SCHEDULER}
    assert tokens[Role.SCHEDULER] == HELD_BY_THE_API  # no token: it says only that there is an operator


def test_redis_knows_every_part_by_its_password_and_the_store_by_its_key(tmp_path: Path) -> None:
    make_secrets(tmp_path, Settings())
    acl = (tmp_path / "redis" / "redis.acl").read_text()
    for role in Role:
        own = read_credentials(tmp_path, role)
        assert f"user {role.account} on >{own.password} " in acl
        assert f'"{own.access_key},{own.secret_key}"' in (tmp_path / "store" / "rclone_auth").read_text()


def test_the_secrets_of_version_0_3_are_kept_for_the_api(tmp_path: Path) -> None:
    old = {
        "archetype_redis_url": "redis://archetype:old-password@redis:6379/0",
        "archetype_s3_secret_key": "old key",
        "archetype_operator_token": "old token",
        "rclone_auth": '"archetype,old key"',
        "redis.acl": "user archetype on >old-password ~* +@all",
    }
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    make_secrets(tmp_path, Settings())
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
    own = read_credentials(tmp_path, Role.API)
    assert (own.password, own.access_key, own.secret_key) == ("old-password", "archetype", "old key")
    assert (tmp_path / TOKEN).read_text() == "old token"
    assert "old-password" not in (tmp_path / "worker" / "archetype_redis_url").read_text()
