"""All files of a report, with the PDF document."""

from archetype.contract.report.document import Report
from shared.audits.pages.files import DOCUMENT, hash_document, write_files
from worker.audit.pdf.document import write_pdf


def write_report(report: Report) -> dict[str, bytes]:
    """The files of the report by name."""
    files = write_files(report)
    return files | {"report.pdf": write_pdf(report, hash_document(files[DOCUMENT]))}
