"""The request of a job as a user would write it for curl, for the Python client and for the command line."""

import shlex
from typing import Any

from archetype.contract.request import METHODS
from archetype.contract.strict_json import dump_json


def write_snippets(request: dict[str, Any], url: str) -> dict[str, str]:
    """Returns the same request in three forms. Parameters with their default value are left out."""
    body = _drop_defaults(request)
    return {"curl": _write_curl(body, url), "Python": _write_python(body, url), "Command line": _write_command(body)}


def _drop_defaults(request: dict[str, Any]) -> dict[str, Any]:
    request_type = METHODS[request["method"]]
    defaults = type(request_type.model_validate(request).params)().model_dump(mode="json")
    params = {name: value for name, value in request.get("params", {}).items() if value != defaults[name]}
    names = ("method", "model", "images", "targets")
    fields = {name: request[name] for name in names if request.get(name) is not None}
    return fields | ({"params": params} if params else {})


def _write_curl(body: dict[str, Any], url: str) -> str:
    data = shlex.quote(dump_json(body))
    return f"curl {url}/v1/jobs -H 'Content-Type: application/json' -d {data}"


def _write_python(body: dict[str, Any], url: str) -> str:
    images = body.get("images", [])
    if isinstance(images, dict) or any(isinstance(image, dict) for image in images):
        name = METHODS[body["method"]].__name__
        names, call = f"Client, {name}", f"start({name}.model_validate({body!r}))"
    else:
        names, call = "Client", f"{body['method']}({', '.join(_list_arguments(body))})"
    return (
        f'from archetype import {names}\n\nwith Client("{url}") as client:\n    client.{call}.wait().save("pictures")\n'
    )


def _list_arguments(body: dict[str, Any]) -> list[str]:
    """Returns the arguments of the method's call of the client."""
    fields = {name: body[name] for name in ("images", "targets") if name in body}
    targets = fields.get("targets")
    arguments = [repr(body["model"])]
    if isinstance(targets, dict):
        fields |= fields.pop("targets")  # {"top": 5} is an argument of its own
    elif "images" not in fields and "targets" in fields:
        arguments.append(repr(fields.pop("targets")))
    return arguments + [f"{name}={value!r}" for name, value in (fields | body.get("params", {})).items()]


def _write_command(body: dict[str, Any]) -> str:
    words = ["archetype", "submit", body["method"].replace("_", "-"), "--model", body["model"]]
    targets = body.get("targets")
    if isinstance(targets, dict):
        words += ["--top", str(targets["top"])]
    elif targets:
        words += _write_targets(targets)
    if "images" in body:
        words.append("IMAGES")
    for name, value in body.get("params", {}).items():
        words += ["-p", f"{name}={value if isinstance(value, str) else dump_json(value)}"]
    return shlex.join([*words, "--wait"])


def _write_targets(targets: str | list[str | int]) -> list[str]:
    """Returns the options that name classes. A name is an option of its own if a list would be read in another way."""
    if isinstance(targets, str):
        return ["--targets", targets]
    names = [target for target in targets if isinstance(target, str)]
    options = [word for target in targets if isinstance(target, int) for word in ("--index", str(target))]
    if any(set(name) & {",", '"'} or name != name.strip() or name == "all" for name in names):
        return [word for name in names for word in ("--target", name)] + options
    return (["--targets", ",".join(names)] if names else []) + options
