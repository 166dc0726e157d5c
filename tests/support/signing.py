"""Private keys for the signatures of reports."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def write_private_key(key: Ed25519PrivateKey | None = None) -> str:
    """A private key in PEM; a new one if none is given."""
    chosen = key or Ed25519PrivateKey.generate()
    return chosen.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
