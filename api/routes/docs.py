"""The OpenAPI document, and Swagger UI to browse it. Both work without an internet connection."""

from importlib import resources

from flask import Blueprint, Response, current_app

from archetype.contract.strict_json import dump_json
from shared.errors import NotFound

blueprint = Blueprint("docs", __name__)

ASSETS = {
    "swagger-ui.css": ("css", "text/css"),
    "swagger-ui-bundle.js": ("js", "text/javascript"),
}
CONTENT_SECURITY_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Archetype API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"><noscript>The API reference as JSON: <a href="/openapi.json">/openapi.json</a></noscript></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, tryItOutEnabled: true});\n'


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Returns the OpenAPI document, which is made when it is first asked for: it takes longer than most requests."""
    stored = current_app.extensions
    if "openapi_text" not in stored:
        stored["openapi_text"] = dump_json(stored["openapi"]())
    return Response(stored["openapi_text"], mimetype="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    """Returns the page of Swagger UI."""
    return Response(PAGE, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@blueprint.get("/docs/<name>")
def asset(name: str) -> Response:
    """Returns a file of Swagger UI, from its Python package."""
    if name == "start.js":
        return Response(START, mimetype="text/javascript")
    if name not in ASSETS:
        raise NotFound(f"there is no file {name[:80]!r}; open /docs")
    folder, media_type = ASSETS[name]
    file = resources.files("flask_openapi3_swagger") / "templates" / "swagger" / folder / name
    return Response(file.read_bytes(), mimetype=media_type, headers={"Cache-Control": "max-age=86400"})
