"""The description of the API, for programs and for people; both without the internet."""

from importlib import resources

from flask import Blueprint, Response, current_app, jsonify

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
<div id="page"><noscript>The same as JSON: <a href="/openapi.json">/openapi.json</a></noscript></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, tryItOutEnabled: true});\n'


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document."""
    return jsonify(current_app.extensions["openapi"])


@blueprint.get("/docs")
def docs() -> Response:
    """The browsable description."""
    return Response(PAGE, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@blueprint.get("/docs/<name>")
def asset(name: str) -> Response:
    """Swagger UI's own files, from the package that carries them."""
    if name == "start.js":
        return Response(START, mimetype="text/javascript")
    if name not in ASSETS:
        raise NotFound(f"there is no {name[:80]!r} here; /docs is the page")
    folder, media_type = ASSETS[name]
    file = resources.files("flask_openapi3_swagger") / "templates" / "swagger" / folder / name
    return Response(file.read_bytes(), mimetype=media_type, headers={"Cache-Control": "max-age=86400"})
