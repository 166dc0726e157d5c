"""Titles, types and status codes of problems."""

import pytest

from archetype.contract.problem import FieldError, ProblemDocument
from shared import errors
from shared.errors import Gone, ObjectRefused, Problem, Refused, StoredProblem, UnknownTarget, UnsupportedFormat

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Problem)]
PUBLIC = [kind for kind in KINDS if kind not in (Problem, StoredProblem)]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_problem_has_a_short_title_and_an_error_status(kind: type[Problem]) -> None:
    document = kind("something is wrong")
    title = document.document.title
    assert title[0].isupper()
    assert not title.endswith(".")
    assert len(title.split()) <= 5
    assert 400 <= kind.status < 600


def test_every_type_of_problem_belongs_to_one_class() -> None:
    unavailable = (UnsupportedFormat, Refused, ObjectRefused)  # clients see all of them as an unavailable service
    kinds = [kind for kind in PUBLIC if kind not in unavailable]
    assert len({kind.slug for kind in kinds}) == len({kind("").document.title for kind in kinds}) == len(kinds)


def test_a_problem_is_sent_with_its_type_title_status_detail_and_fields() -> None:
    field = FieldError(field="/targets/0", detail="unknown", given="lemming")
    assert UnknownTarget("there is no class 'lemming'", field).document == ProblemDocument(
        type="/problems/unknown-target",
        title="Unknown class",
        status=422,
        detail="there is no class 'lemming'",
        errors=[field],
    )
    assert Gone("the result was deleted").document.title == "Result expired"


def test_a_stored_problem_keeps_the_document_that_was_stored() -> None:
    document = Gone("the result was deleted").document
    assert StoredProblem(document).document == document
    assert StoredProblem(document).detail == "the result was deleted"
