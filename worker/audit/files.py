"""All files of a report, with the PDF document."""

from archetype.contract.report.document import Report
from shared.audits.pages.files import DOCUMENT, hash_document, write_files


def write_report(report: Report) -> dict[str, bytes]:
    """The files of the report by name."""
    # Imported here, because fpdf2 takes as long to import as a quarter of PyTorch, and few workers write a report.
    from worker.audit.pdf.document import write_pdf

    files = write_files(report)
    return files | {"report.pdf": write_pdf(report, hash_document(files[DOCUMENT]))}
