"""The files of a report: JSON, HTML, PDF, JUnit XML and Markdown."""

import hashlib

from archetype.contract.report.document import Report
from worker.audit.pages.html import write_html
from worker.audit.pages.junit import write_junit
from worker.audit.pages.markdown import write_markdown
from worker.audit.pages.pdf import write_pdf


def write_report(report: Report) -> dict[str, bytes]:
    """The files of the report by name. All others are made from `report.json`, and name its digest."""
    document = report.model_dump_json(indent=1).encode()
    digest = hashlib.sha256(document).hexdigest()
    return {
        "report.json": document,
        "report.html": write_html(report, digest).encode(),
        "report.pdf": write_pdf(report, digest),
        "junit.xml": write_junit(report),
        "summary.md": write_markdown(report).encode(),
    }
