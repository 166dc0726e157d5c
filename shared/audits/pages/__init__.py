"""The files of a report, written from its document: HTML, JUnit XML and Markdown."""
