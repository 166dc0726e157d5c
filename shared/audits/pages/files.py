"""The files of a report that are made from its document: HTML, JUnit XML, SARIF and Markdown."""

import hashlib

from archetype.contract.report.document import Report
from shared.audits.pages.html import write_html
from shared.audits.pages.junit import write_junit
from shared.audits.pages.markdown import write_markdown
from shared.audits.pages.sarif import write_sarif

DOCUMENT = "report.json"

MEDIA_TYPES = {
    DOCUMENT: "application/json",
    "report.html": "text/html",
    "junit.xml": "application/xml",
    "report.sarif": "application/sarif+json",
    "summary.md": "text/markdown",
}
"""Media types of the files."""


def write_files(report: Report) -> dict[str, bytes]:
    """The files of the report by name. All others are made from `report.json`, and the pages name its digest."""
    document = report.model_dump_json(indent=1).encode()
    return {
        DOCUMENT: document,
        "report.html": write_html(report, hash_document(document)).encode(),
        "junit.xml": write_junit(report),
        "report.sarif": write_sarif(report),
        "summary.md": write_markdown(report).encode(),
    }


def hash_document(document: bytes) -> str:
    """SHA-256 digest of `report.json`."""
    return hashlib.sha256(document).hexdigest()
