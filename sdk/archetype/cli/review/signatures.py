"""`archetype audit signature`, `key` and `verify`: save a signature and the public key, and check a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archetype.cli.console import print_error, print_line, print_note
from archetype.cli.service.connection import connected
from archetype.contract.audit import AuditView
from archetype.files import write_file

if TYPE_CHECKING:
    from archetype.client import Client

REPORT, SIGNATURE, KEY_FILE = "report.json", "report.json.sig", "archetype-signing-key.pem"

PROOF = (
    "This proves that the file is byte for byte the one that the owner of this key signed. It does not prove that the "
    "release is safe, or that the key belongs to your service: compare its name with the one that the operator gives."
)
"""What a valid signature proves."""

AuditId = Annotated[str, typer.Argument(help="Id of the audit.")]


def save_signature_of(audit: AuditView, client: "Client", folder: Path) -> Path | None:
    """Save the signature beside the report of an audit; say so if the service does not sign reports."""
    if "signature" not in audit.links:
        print_note("report.json is not signed: the service has no signing key")
        return None
    path = folder / SIGNATURE
    write_file(path, client.signature(audit.id).model_dump_json(indent=1).encode())
    return path


def save_signature(
    audit_id: AuditId,
    save_to: Annotated[Path, typer.Option("--out", help="File for the signature.")] = Path(SIGNATURE),
) -> None:
    """Save the signature of a report."""
    with connected() as client:
        write_file(save_to, client.signature(audit_id).model_dump_json(indent=1).encode())
        print_line(str(save_to), {"file": save_to})


def save_key(
    save_to: Annotated[Path, typer.Option("--out", help="File for the public key.")] = Path(KEY_FILE),
) -> None:
    """Save the public key of the service, with which `verify` checks signatures."""
    with connected() as client:
        key = client.signing_key()
        write_file(save_to, key.public_key.encode())
        print_line(f"{save_to}: key {key.key}", key)


def verify(
    report: Annotated[Path, typer.Argument(help="The file report.json.")],
    key: Annotated[Path, typer.Option(help="File with the public key.")] = Path(KEY_FILE),
    signature: Annotated[Path | None, typer.Option(help="File with the signature; by default REPORT.sig.")] = None,
) -> None:
    """Check the signature of a report, without a connection.

    Exit codes: 0 the signature is valid, 1 it is not, 2 a file or a library is missing.
    """
    from archetype.verification import CannotVerify, NotVerified, verify_report

    try:
        found = verify_report(report, key, signature)
    except NotVerified as error:
        print_error(f"not valid: {error}")
        raise typer.Exit(1) from error
    except CannotVerify as error:
        print_error(str(error))
        raise typer.Exit(2) from error
    print_line(f"valid: {report} is signed with the key {found.key}", found)
    print_note(PROOF)
