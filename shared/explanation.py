"""What pydantic found wrong, in the words of the contract: the field, what was given, and what is allowed."""

import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import MOST_ERRORS, FieldError, InvalidRequest, nearest, shorten
from shared.methods import MENU
from shared.parameters.deep_dream import Channel, ClassScore, Norm
from shared.parameters.fool import L2, LInf
from shared.parameters.parts import PARTS
from shared.parameters.subjects import Archive, Picture, Shelf, Top

UNIONS: dict[str, dict[str, type[BaseModel]]] = {
    "schedule": {**PARTS},
    "bound": {"linf": LInf, "l2": L2},
    "objective": {"norm": Norm, "channel": Channel, "class": ClassScore},
    "targets": {"Top": Top},
    "images": {"Archive": Archive, "Shelf": Shelf},
}
"""By field, what pydantic calls the branches of its union: the sender's document knows nothing of them."""

ITEMS: dict[str, type[BaseModel]] = {**PARTS, "Picture": Picture}
"""The same of unions whose values stand in a list."""


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
    found = [_find_branch(part, before) for part, before in zip(path, ["", *path], strict=False)]
    branches = [branch for branch in found if branch is not None]
    path = [part for part, branch in zip(path, found, strict=True) if branch is None and part != ""]
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
            names = _siblings(branches, parents)
            close = nearest(str(path[-1]), names)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            return FieldError(field=field, detail=f"there is no such parameter{hint}", given=given, allowed=names)
        case _:
            bounds = {name: value for name, value in context.items() if name != "error"}
            detail = details["msg"][0].lower() + details["msg"][1:]
            return FieldError(field=field, detail=detail, given=given, allowed=bounds or None)


def _find_branch(part: str | int, before: str | int) -> type[BaseModel] | None:
    """What a step of pydantic's path stands for, where it is the branch of a union."""
    known = MENU if before == "" else ITEMS if isinstance(before, int) else UNIONS.get(before, {})
    return known.get(str(part))


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


def _siblings(branches: Sequence[type[BaseModel]], parents: Sequence[int | str]) -> list[str]:
    """The names that the place of an unknown one does have."""
    if not branches:
        return []
    fields = branches[-1].model_fields
    if branches[-1] in MENU.values() and "params" in parents:
        fields = fields["params"].annotation.model_fields  # type: ignore[union-attr]
    return list(fields)
