"""What all pages share: what they may load, how what goes wrong is shown, and words of their templates."""

from importlib import resources

from flask import Blueprint, Response, redirect, render_template, request, url_for

from shared.errors import Problem, Unauthorized
from shared.version import VERSION

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def furnish(blueprint: Blueprint) -> Blueprint:
    """Pages with all that pages share."""
    blueprint.after_request(protect)
    blueprint.register_error_handler(Unauthorized, ask_for_key)
    blueprint.register_error_handler(Problem, explain_problem)
    blueprint.add_app_template_global(version)
    blueprint.add_app_template_global(preset_picture)
    blueprint.add_app_template_filter(words)
    return blueprint


def protect(answer: Response) -> Response:
    """Nothing of another site is loaded, and nothing is guessed or told to it."""
    answer.headers.setdefault("Content-Security-Policy", POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    return answer


def version() -> str:
    """Of the service; also what makes browsers fetch scripts and styles anew."""
    return VERSION


def preset_picture(preset: str) -> str | None:
    """Where the picture of a preset is, if it has one."""
    name = f"preset-{preset}.webp"
    found = (resources.files("api.page") / "static" / name).is_file()
    return url_for("page.static", filename=name, v=VERSION) if found else None


def words(name: str) -> str:
    """A name of the menu as words."""
    return name.replace("_", " ")


def ask_for_key(_: Unauthorized) -> Response:
    """The way in, and back to where they wanted to go."""
    return redirect(url_for("page.enter", next=request.full_path))  # type: ignore[return-value]


def explain_problem(problem: Problem) -> tuple[str, int]:
    """A problem as a page."""
    return render_template("page/problem.html", problem=problem.document), problem.status
