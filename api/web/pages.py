"""The blueprint of the pages. The modules that import it add their routes."""

from flask import Blueprint

from api.web.layout import set_up_pages

blueprint = set_up_pages(
    Blueprint("page", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
)

IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
"""Headers of an answer that never changes."""
