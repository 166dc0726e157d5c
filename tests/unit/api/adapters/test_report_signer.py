"""The key of the operator signs reports; a setting that is no such key is refused at the start."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from api.adapters.report_signer import ReportSigner, load_signer
from shared.process.check_settings import UnsupportedSetting
from shared.settings import Settings
from tests.support.signing import write_private_key


def test_a_signature_is_the_one_of_the_standard() -> None:
    """RFC 8032, section 7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    signature = ReportSigner(Ed25519PrivateKey.from_private_bytes(seed)).sign(b"\x72")
    assert base64.b64decode(signature.signature).hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_without_a_key_reports_are_not_signed() -> None:
    assert load_signer(Settings()) is None


def test_the_key_of_the_settings_signs() -> None:
    signer = load_signer(Settings(signing_key=SecretStr(write_private_key())))
    assert signer is not None
    assert signer.sign(b"x").key == signer.public_key.key


def test_a_setting_that_is_no_ed25519_key_is_refused_with_the_way_to_make_one() -> None:
    other = write_private_key(Ed448PrivateKey.generate())
    for text, reason in (("secret", "no private key in PEM"), (other, "another kind than Ed25519")):
        with pytest.raises(UnsupportedSetting, match=f"{reason}.*openssl genpkey"):
            load_signer(Settings(signing_key=SecretStr(text)))
