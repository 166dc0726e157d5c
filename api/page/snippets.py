"""A job's request as a user would write it: for curl, for Python, for the command line."""

import json
import shlex
from typing import Any

from shared.methods import MENU


def write_snippets(request: dict[str, Any], url: str) -> dict[str, str]:
    """The same request three ways. What has its default is left out."""
    body = _shorten(request)
    return {"curl": _curl(body, url), "Python": _python(body, url), "Command line": _command(body)}


def _shorten(request: dict[str, Any]) -> dict[str, Any]:
    """A request without what has its default."""
    kind = MENU[request["method"]]
    model = kind.model_validate(request)
    plain = type(model.params)()
    params = {
        name: value for name, value in request.get("params", {}).items() if value != plain.model_dump(mode="json")[name]
    }
    said = ("method", "model", "images", "targets")
    short = {name: request[name] for name in said if request.get(name) is not None}
    return short | ({"params": params} if params else {})


def _curl(body: dict[str, Any], url: str) -> str:
    data = shlex.quote(json.dumps(body))
    return f"curl {url}/v1/jobs -H 'Content-Type: application/json' -d {data}"


def _python(body: dict[str, Any], url: str) -> str:
    name = MENU[body["method"]].__name__
    arguments = ", ".join(f"{field}={value!r}" for field, value in body.items())
    return (
        "from pathlib import Path\n\nfrom shared.client import Client\n"
        f"from shared.methods import {name}\n\n"
        f'with Client("{url}") as client:\n'
        f"    job = client.submit({name}({arguments}))\n"
        '    client.save(client.wait(job.id), Path("pictures"))\n'
    )


def _command(body: dict[str, Any]) -> str:
    words = ["archetype", "submit", body["method"].replace("_", "-"), "--model", body["model"]]
    targets = body.get("targets")
    if isinstance(targets, dict):
        words += ["--top", str(targets["top"])]
    elif targets:
        words += ["--targets", targets if isinstance(targets, str) else ",".join(map(str, targets))]
    if "images" in body:
        words.append("PICTURES")
    for name, value in body.get("params", {}).items():
        words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join([*words, "--wait"])
