"""Which pixels a class score depends on: one kind of answer per file."""
