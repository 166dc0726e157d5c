"""The files of a report, written from its document: HTML, PDF, JUnit XML and Markdown."""
