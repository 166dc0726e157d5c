"""Creation of API keys."""

from archetype.contract.api_key import NewKey
from shared.storage.api_keys import TOKEN, create_key


def test_a_token_contains_the_id_and_the_secret_of_its_key_and_only_the_digest_is_stored() -> None:
    key, token = create_key(NewKey(tenant="vision"))
    match = TOKEN.fullmatch(token)
    assert match is not None
    assert match[1] == key.id
    assert key.fits(match[2])
    assert not key.fits(match[2][:-1])
    assert match[2] not in key.model_dump_json()


def test_every_key_is_different() -> None:
    assert len({create_key(NewKey(tenant="vision"))[1] for _ in range(100)}) == 100
