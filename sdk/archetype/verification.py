"""Checks the signature of a report without the service."""

import base64
import binascii
import hashlib
from pathlib import Path

from pydantic import ValidationError

from archetype.contract.report.signature import SUFFIX, Signature, SigningKey
from archetype.contract.strict_json import load_json

MISSING_LIBRARY = "signatures are checked with the package cryptography; pip install 'archetype-client[verify]'"


class NotVerified(Exception):
    """The signature is not valid for this report and this key."""


class CannotVerify(Exception):
    """A file cannot be read, or the package cryptography is missing."""


def verify_report(report: Path, key: Path, signature: Path | None = None) -> Signature:
    """Check that a report is byte for byte the file that the owner of a key signed. Nothing is sent.

    Args:
        report: The file `report.json`.
        key: The public key in PEM, or the answer of `GET /v1/signing-key`.
        signature: The signature; by default the file beside the report whose name ends in `.sig`.

    Raises:
        NotVerified: The report was changed, or another key signed it.
        CannotVerify: A file cannot be read, or the package cryptography is missing.
    """
    document = _read(report)
    found = _read_signature(signature or report.with_name(report.name + SUFFIX))
    digest = hashlib.sha256(document).hexdigest()
    if digest != found.report_sha256:
        raise NotVerified(f"{report} was changed: its SHA-256 is {digest}, signed was {found.report_sha256}")
    _check(_read_public_key(key), found, document, report)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotVerify(f"{path} cannot be read: {error.strerror}") from error


def _read_signature(path: Path) -> Signature:
    if not path.is_file():
        raise CannotVerify(
            f"there is no signature at {path}; `archetype audit signature AUDIT` saves it, if the service signs reports"
        )
    try:
        return Signature.model_validate_json(_read(path))
    except ValidationError as error:
        raise CannotVerify(f"{path} is no signature of a report") from error


def _read_public_key(path: Path) -> bytes:
    """Return the public key in PEM."""
    data = _read(path)
    try:
        fields = load_json(data.decode()) if data.lstrip().startswith(b"{") else None
        return SigningKey.model_validate(fields).public_key.encode() if fields is not None else data
    except (ValueError, ValidationError) as error:
        raise CannotVerify(f"{path} is no public key") from error


def _check(pem: bytes, signature: Signature, document: bytes, report: Path) -> None:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
    except ImportError as error:
        raise CannotVerify(MISSING_LIBRARY) from error
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CannotVerify("the key is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CannotVerify("the key is of another kind than Ed25519")
    name = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    if name != signature.key:
        raise NotVerified(f"{report} is signed with the key {signature.key}, not with {name}")
    try:
        key.verify(base64.b64decode(signature.signature, validate=True), document)
    except (InvalidSignature, binascii.Error) as error:
        raise NotVerified(f"the signature of {report} is not valid") from error
