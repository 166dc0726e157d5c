"""The tree of errors: every failure has its class, and one clause catches all."""

import inspect
import re

import pytest

import archetype
from archetype import errors
from archetype.contract.problem import FieldError, InvalidDocument
from archetype.errors import ArchetypeError, from_invalid_document, from_status
from tests.support.mock_service import make_problem


def list_classes() -> list[type[Exception]]:
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ArchetypeError)]


def test_every_error_is_an_archetype_error_drawn_in_the_tree_and_public() -> None:
    names = {kind.__name__ for kind in list_classes()} - {"ArchetypeError"}
    assert set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) == names
    assert names <= set(archetype.__all__)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (413, errors.InvalidRequest),
        (422, errors.InvalidRequest),
        (429, errors.RateLimited),
        (500, errors.ServerError),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
def test_a_status_has_its_class(status: int, kind: type[ArchetypeError]) -> None:
    problem = make_problem(status, "detail")
    error = from_status(status, "detail", problem, retry_after=3)
    assert type(error) is kind
    assert (str(error), error.problem, error.retry_after) == ("detail", problem, 3)


def test_a_timeout_is_also_a_timeout_error() -> None:
    with pytest.raises(TimeoutError, match="late"):
        raise errors.TimedOut("late")


def test_the_former_name_of_the_base_class_works() -> None:
    assert errors.ServiceError is ArchetypeError
    from archetype.client import ServiceError

    assert ServiceError is ArchetypeError


def test_a_request_that_is_invalid_before_it_is_sent_has_a_problem_like_one_that_is_refused() -> None:
    field = FieldError(field="/params/steps", detail="too small", given=0, allowed={"ge": 1})
    error = from_invalid_document(InvalidDocument("steps: too small", field))
    assert error.problem is not None
    assert (error.problem.status, error.problem.errors) == (422, [field])
