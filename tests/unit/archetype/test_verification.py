"""The signature of a report is checked from files alone."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from api.adapters.report_signer import ReportSigner
from archetype.cli.app import app
from archetype.verification import CannotVerify, NotVerified, verify_report


@pytest.fixture
def signer() -> ReportSigner:
    return ReportSigner(Ed25519PrivateKey.generate())


@pytest.fixture
def report(tmp_path: Path, signer: ReportSigner) -> Path:
    """A signed report with the public key beside it."""
    path = tmp_path / "report.json"
    path.write_bytes(b'{"verdict": "fail"}\n')
    (tmp_path / "report.json.sig").write_text(signer.sign(path.read_bytes()).model_dump_json())
    (tmp_path / "key.pem").write_text(signer.public_key.public_key)
    (tmp_path / "key.json").write_text(signer.public_key.model_dump_json())
    return path


def test_a_signed_report_is_valid_with_the_key_as_a_file_or_as_the_api_returns_it(
    report: Path, signer: ReportSigner
) -> None:
    for name in ("key.pem", "key.json"):
        assert verify_report(report, report.with_name(name)).key == signer.public_key.key


def test_a_report_with_one_changed_byte_is_not_valid(report: Path) -> None:
    report.write_bytes(report.read_bytes().replace(b"fail", b"pass"))
    with pytest.raises(NotVerified, match="was changed"):
        verify_report(report, report.with_name("key.pem"))


def test_a_changed_report_with_a_fitting_digest_is_not_valid(report: Path) -> None:
    changed = report.read_bytes().replace(b"fail", b"pass")
    forged = ReportSigner(Ed25519PrivateKey.generate()).sign(changed)
    genuine = verify_report(report, report.with_name("key.pem"))
    report.write_bytes(changed)
    signature = forged.model_copy(update={"key": genuine.key})
    report.with_name("report.json.sig").write_text(signature.model_dump_json())
    with pytest.raises(NotVerified, match=r"the signature of .* is not valid"):
        verify_report(report, report.with_name("key.pem"))


def test_the_signature_of_another_key_is_not_valid(report: Path) -> None:
    other = ReportSigner(Ed25519PrivateKey.generate()).public_key
    report.with_name("key.pem").write_text(other.public_key)
    with pytest.raises(NotVerified, match=f"not with {other.key}"):
        verify_report(report, report.with_name("key.pem"))


def test_what_is_missing_is_named(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotVerify, match=r"no-key\.pem cannot be read"):
        verify_report(report, report.with_name("no-key.pem"))
    with pytest.raises(CannotVerify, match="is no public key"):
        verify_report(report, report)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(CannotVerify, match=r"pip install 'archetype-client\[verify\]'"):
        verify_report(report, report.with_name("key.pem"))
    report.with_name("report.json.sig").unlink()
    with pytest.raises(CannotVerify, match="there is no signature at"):
        verify_report(report, report.with_name("key.pem"))


def test_the_command_says_what_a_valid_signature_proves_and_what_not(report: Path) -> None:
    words = ["audit", "verify", str(report), "--key", str(report.with_name("key.pem"))]
    valid = CliRunner().invoke(app, words)
    assert valid.exit_code == 0
    assert valid.stdout.startswith(f"valid: {report} is signed with the key ")
    assert "It does not prove that the release is safe" in valid.stderr
    report.write_bytes(b"{}")
    changed = CliRunner().invoke(app, words)
    assert changed.exit_code == 1
    assert "not valid" in changed.stderr
    report.with_name("report.json.sig").unlink()
    assert CliRunner().invoke(app, words).exit_code == 2
