"""The detached signature of a report."""

from typing import Literal

from pydantic import Field

from archetype.contract.job import Document

SUFFIX = ".sig"
"""What the name of a signature file has after the name of the signed file."""


class Signature(Document):
    """`report.json.sig`: an Ed25519 signature (RFC 8032) of the exact bytes of `report.json`."""

    algorithm: Literal["Ed25519"] = Field(default="Ed25519", description="Algorithm of the signature.")
    key: str = Field(description="SHA-256 digest of the public key (32 bytes), which names the key.")
    signature: str = Field(description="The signature of 64 bytes in Base64.")
    report_sha256: str = Field(description="SHA-256 digest of `report.json`.")


class SigningKey(Document):
    """The public key with which signatures are checked."""

    algorithm: Literal["Ed25519"] = Field(default="Ed25519", description="Algorithm of the key.")
    key: str = Field(description="SHA-256 digest of the public key (32 bytes), which names the key.")
    public_key: str = Field(description="The public key in PEM.")
