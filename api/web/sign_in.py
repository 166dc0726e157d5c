"""Sign-in and sign-out of the web page."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from api.dependencies import get_services
from api.http.auth import identify
from api.http.parsing import check_length
from api.http.sessions import end_session, start_session
from api.web.layout import set_up_pages
from api.web.way_back import find_way_back
from shared.errors import Forbidden, HeadTooLarge, Unauthorized

blueprint = set_up_pages(Blueprint("sign_in", __name__, template_folder="templates"))

MAX_FORM_BYTES, MAX_FORM_PARTS = 32_768, 8
"""Largest sign-in form: a token, the way back, and the rest of the form."""


@blueprint.get("/enter")
def enter() -> str:
    """Asks for an API key."""
    return render_template("page/enter.html", next=find_way_back(request.args.get("next", "")), refusal=None)


@blueprint.post("/enter")
def sign_in() -> Response:
    """Starts a session for the owner of an API key or of a token, and redirects to the page that asked for it."""
    limit_form()
    key, path = request.form.get("key", "").strip(), find_way_back(request.form.get("next", ""))
    services = get_services()
    try:
        owner = identify(key, services) if key else None
    except (Unauthorized, Forbidden, HeadTooLarge) as problem:
        return _refuse(problem.detail, problem.status, path)
    if owner is None:
        return _refuse("This API key is unknown, expired or revoked.", 401, path)
    response = make_response(redirect(request.script_root + path, 303))
    start_session(response, owner, services)
    return response


@blueprint.post("/leave")
def sign_out() -> Response:
    """Ends the session and redirects to the sign-in page."""
    limit_form()
    response = make_response(redirect(url_for("sign_in.enter"), 303))
    end_session(response, get_services())
    return response


def limit_form() -> None:
    """Makes a larger form fail with 413 before it is read. Raises `LengthRequired` if the size is not given."""
    check_length()
    request.max_content_length = MAX_FORM_BYTES
    request.max_form_memory_size = MAX_FORM_BYTES
    request.max_form_parts = MAX_FORM_PARTS


def _refuse(refusal: str, status: int, path: str) -> Response:
    page = render_template("page/enter.html", next=path, refusal=refusal[:1].upper() + refusal[1:])
    return make_response(page, status)
