"""What pydantic found wrong, in the words of the contract: the field, what was given, and what is allowed."""

import re
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import MOST_ERRORS, FieldError, InvalidRequest, nearest, shorten
from shared.methods import MENU
from shared.parameters.parts import PARTS
from shared.parameters.subjects import Archive, Picture, Shelf, Top

BRANCHES = PARTS | {"Picture": Picture, "Top": Top, "Archive": Archive, "Shelf": Shelf}
"""What pydantic calls the branches of unions, which the sender's document knows nothing of."""


def explain(error: ValidationError, *, pointer: bool = True) -> InvalidRequest:
    """What pydantic found, in the words of the contract.

    Args:
        pointer: Name fields by JSON pointer, as in a body, rather than by name, as in a query.
    """
    found = error.errors(include_url=False)
    errors = _merge([_explain_one(details, pointer=pointer) for details in found[:MOST_ERRORS]])
    first = errors[0]
    where = first.field or "the body"
    given = "" if first.given is None else f", given {shorten(repr(first.given))}"
    others = len(errors) - 1 + len(found[MOST_ERRORS:])
    more = f" (and {others} more)" if others else ""
    return InvalidRequest(f"{where}: {first.detail}{given}{more}; see errors for what is allowed", *errors)


def _explain_one(details: ErrorDetails, *, pointer: bool) -> FieldError:
    *parents, last = details["loc"] or ("",)
    # A union's branch, as in `constrained-str` or `window`, is in pydantic's path but not in the sender's document.
    path = [part for part in parents if _is_name(part)]
    path += [last] if details["type"] == "extra_forbidden" or _is_name(last) else []
    branches = [part for part, before in zip(path, ["", *path], strict=False) if _is_branch(part, before)]
    path = [
        part for part, before in zip(path, ["", *path], strict=False) if not _is_branch(part, before) and part != ""
    ]
    steps = [str(part).encode(errors="backslashreplace").decode()[:80] for part in path]
    field = "/" + "/".join(steps) if pointer and path else ".".join(steps)
    context = details.get("ctx", {})
    given = None if details["type"] == "missing" else shorten(details["input"])
    match details["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            what = context["discriminator"].strip("'")
            names = list(MENU) if what == "method" else re.findall(r"'(\w+)'", context.get("expected_tags", ""))
            detail = f"there is no {what} {context['tag']!r}" if "tag" in context else f"a {what} is needed"
            return FieldError(field=f"{field}/{what}", detail=detail, given=context.get("tag"), allowed=names or None)
        case "extra_forbidden":
            names = _siblings([str(branch) for branch in branches], parents)
            close = nearest(str(path[-1]), names)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            return FieldError(field=field, detail=f"there is no such parameter{hint}", given=given, allowed=names)
        case _:
            bounds = {name: value for name, value in context.items() if name != "error"}
            detail = details["msg"][0].lower() + details["msg"][1:]
            return FieldError(field=field, detail=detail, given=given, allowed=bounds or None)


def _is_branch(part: str | int, before: str | int) -> bool:
    """Whether a step of pydantic's path is the branch of a union: a method, the kind of a recipe's part, a picture."""
    return (before == "" and part in MENU) or (
        (isinstance(before, int) or before in ("schedule", "targets", "images")) and part in BRANCHES
    )


def _is_name(part: str | int) -> bool:
    return isinstance(part, int) or part.isidentifier()


def _merge(errors: list[FieldError]) -> list[FieldError]:
    """One error per field: where each branch of a union found its own, what they say is joined with "or"."""
    fields = [error.field for error in errors]
    merged: dict[str, FieldError] = {}
    for error in errors:
        if any(field.startswith(error.field + "/") for field in fields):
            continue  # another branch got further, and says more
        known = merged.get(error.field)
        detail = f"{known.detail}, or {error.detail.removeprefix('input should be ')}" if known else error.detail
        merged[error.field] = error.model_copy(update={"detail": detail})
    return list(merged.values())


def _siblings(branches: Sequence[str], parents: Sequence[int | str]) -> list[str]:
    """The names that the place of an unknown one does have."""
    if not branches:
        return []
    if branches[-1] in BRANCHES:
        return list(BRANCHES[branches[-1]].model_fields)
    kind = MENU[branches[0]]
    fields = kind.model_fields["params"].annotation.model_fields if "params" in parents else kind.model_fields  # type: ignore[union-attr]
    return list(fields)
