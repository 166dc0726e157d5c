"""What all pages share: security headers, error pages, and helpers for the templates."""

from importlib import resources
from typing import cast

from flask import Blueprint, Response, g, make_response, redirect, render_template, url_for

from api.dependencies import get_services
from api.http.auth import find_caller, read_token
from api.http.problems import add_headers
from api.http.sessions import forget_session
from api.services.results.name_files import name_file
from api.web.results.figures import list_figures
from api.web.way_back import write_way_back
from archetype.contract.report.units import write_estimate, write_value
from archetype.version import VERSION
from shared.errors import Problem, Unauthorized
from shared.storage.api_keys import Caller

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def set_up_pages(blueprint: Blueprint) -> Blueprint:
    """Registers headers, error handlers and template helpers with a blueprint of pages, and returns it."""
    blueprint.after_request(set_security_headers)
    blueprint.register_error_handler(Unauthorized, redirect_to_sign_in)
    blueprint.register_error_handler(Problem, render_problem)
    blueprint.add_app_template_global(version)
    blueprint.add_app_template_global(preset_image)
    blueprint.add_app_template_global(showcase_image)
    blueprint.add_app_template_global(find_user)
    blueprint.add_app_template_filter(words)
    blueprint.add_app_template_filter(list_figures, "figures")
    blueprint.add_app_template_filter(name_file, "file_name")
    blueprint.add_app_template_filter(write_estimate, "estimate")
    blueprint.add_app_template_filter(write_value, "amount")
    return blueprint


def set_security_headers(response: Response) -> Response:
    """Forbids content from other sites, guesses of the media type, referrers to other sites, and copies of pages.

    Without copies, the pages of a user cannot be seen with the button "Back" after the sign-out.
    """
    if response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def version() -> str:
    """Returns the version of the service. As part of a URL, it makes browsers reload scripts and styles."""
    return VERSION


def preset_image(method: str, preset: str) -> str | None:
    """Returns the URL of the example image of a preset of a method, or None if it has none."""
    name = f"preset-{method}-{preset}.webp"
    exists = (resources.files("api.web") / "static" / name).is_file()
    return url_for("page.static", filename=name, v=VERSION) if exists else None


def showcase_image(index: int, kind: str = "") -> str:
    """Returns the URL of an image of a class of the gallery: the best, `-seed`, or `-ascent`."""
    return url_for("page.static", filename=f"showcase/{index}{kind}.webp", v=VERSION)


def words(name: str) -> str:
    """Returns an identifier as words: `class_model` as `class model`."""
    return name.replace("_", " ")


def find_user() -> Caller | None:
    """Returns the user of the current request, whose tenant every page shows; None if there is none."""
    if "caller" in g:
        return cast("Caller | None", g.caller)
    if read_token() is not None:
        return None
    try:  # a page that needs no key, or the page of a problem
        return find_caller(get_services())
    except Problem:
        return None


def redirect_to_sign_in(_: Unauthorized) -> Response:
    """Redirects to the page that asks for an API key, with the way back. A session that has ended is forgotten."""
    response = make_response(redirect(url_for("sign_in.enter", next=write_way_back())))
    forget_session(response)
    return response


def render_problem(problem: Problem) -> Response:
    """Renders a problem as a page. If a part of the service does not answer, the user is not looked up again."""
    if problem.status >= 500:
        g.setdefault("caller", None)
    page = make_response(render_template("page/problem.html", problem=problem.document), problem.status)
    return add_headers(page, problem)
