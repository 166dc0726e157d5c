"""The short form of `make fuzz`: mutated files and documents are answered, and no process dies."""

from tests.fuzz.run import run


def test_mutated_files_and_documents_end_no_process_and_cause_no_internal_error() -> None:
    outcomes = run(600, seed=2)
    assert {name: outcome.failures for name, outcome in outcomes.items() if outcome.failures} == {}
    assert outcomes["images"].answers["422"] > 10
    assert outcomes["images"].answers["503"] > 10  # decoded; there is no store
    assert outcomes["documents"].answers["422"] > 10
    assert outcomes["checkpoints"].answers["refused"] > 3
