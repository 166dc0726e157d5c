"""Signs reports of audits with the Ed25519 key of the operator (RFC 8032)."""

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from archetype.contract.report.signature import Signature, SigningKey
from shared.process.check_settings import UnsupportedSetting
from shared.settings import Settings

HOW = "create one with `openssl genpkey -algorithm ed25519`"


class ReportSigner:
    """A signing key. Signatures of the same bytes are equal: Ed25519 uses no random numbers.

    Args:
        private_key: The private key.
    """

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        public_key = private_key.public_key()
        raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.public_key = SigningKey(key=hashlib.sha256(raw).hexdigest(), public_key=pem)

    def sign(self, document: bytes) -> Signature:
        """Returns the signature of a document."""
        return Signature(
            key=self.public_key.key,
            signature=base64.b64encode(self._private_key.sign(document)).decode(),
            report_sha256=hashlib.sha256(document).hexdigest(),
        )


def load_signer(settings: Settings) -> ReportSigner | None:
    """Returns the signer with the key of the settings; None if they have none.

    Raises:
        UnsupportedSetting: The key is not a private Ed25519 key in PEM without a password.
    """
    if settings.signing_key is None:
        return None
    try:
        key = load_pem_private_key(settings.signing_key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnsupportedSetting(f"ARCHETYPE_SIGNING_KEY is no private key in PEM without a password; {HOW}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnsupportedSetting(f"ARCHETYPE_SIGNING_KEY is a key of another kind than Ed25519; {HOW}")
    return ReportSigner(key)
