"""Errors as problem documents."""

from flask import Flask
from werkzeug.exceptions import Conflict

from api.http.problems import answer_http_error, answer_problem
from shared.errors import MEDIA_TYPE, NotFinite, NotFound, QueueFull, StoredProblem, Unauthorized


def test_a_problem_that_passes_says_when_to_try_again() -> None:
    response = answer_problem(QueueFull("the queue is full"))
    assert (response.status_code, response.content_type) == (429, MEDIA_TYPE)
    assert response.headers["Retry-After"] == "10"


def test_a_problem_that_stays_does_not_ask_to_try_again() -> None:
    assert "Retry-After" not in answer_problem(NotFound("there is no job")).headers


def test_a_missing_key_is_asked_for_in_the_way_of_http() -> None:
    assert answer_problem(Unauthorized("send a key")).headers["WWW-Authenticate"] == "Bearer"


def test_a_stored_problem_is_answered_with_the_status_of_its_document() -> None:
    response = answer_problem(StoredProblem(NotFinite("an infinite score").document))
    assert response.status_code == 422
    assert response.get_json()["type"] == "/problems/not-finite"


def test_an_error_of_flask_without_a_problem_of_its_own_keeps_its_status(app: Flask) -> None:
    with app.test_request_context():
        response = answer_http_error(Conflict("two at once"))
    assert (response.status_code, response.content_type) == (409, MEDIA_TYPE)
    assert response.get_json()["detail"] == "two at once"


def test_an_error_of_the_service_itself_is_a_problem_without_details() -> None:
    from api.http.problems import register_problems

    app = Flask("broken")
    register_problems(app)

    @app.get("/")
    def fail() -> str:
        raise RuntimeError("secret")

    response = app.test_client().get("/")
    assert (response.status_code, response.content_type) == (500, MEDIA_TYPE)
    assert "secret" not in response.get_data(as_text=True)
