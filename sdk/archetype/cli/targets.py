"""Options that name target classes."""

import csv
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from archetype.cli.service.completion import complete_classes
from archetype.contract.class_names import ClassNames
from archetype.errors import ArchetypeError

if TYPE_CHECKING:
    from archetype.client import Client

Targets = Annotated[
    list[str],
    typer.Option(
        "--targets",
        metavar="NAMES",
        help="Class names, separated by commas, or all. May be repeated. A name that contains a comma is recognized if "
        "the model has it; otherwise quote it as in CSV.",
    ),
]
Target = Annotated[
    list[str],
    typer.Option(
        "--target",
        metavar="NAME",
        help="One class name, which may contain commas. May be repeated.",
        autocompletion=complete_classes,
    ),
]
Index = Annotated[
    list[int],
    typer.Option("--index", metavar="INDEX", min=0, help="One class by its index. May be repeated."),
]


def read_targets(
    lists: Sequence[str], names: Sequence[str], indices: Sequence[int], load_names: Callable[[], ClassNames]
) -> str | list[str | int] | None:
    """Return the value of a request's `targets`; None to leave it out.

    Args:
        lists: Values of `--targets`.
        names: Values of `--target`.
        indices: Values of `--index`.
        load_names: Returns the class names of the model; only called if a value of `--targets` contains a comma.
    """
    if [text.strip() for text in lists] == ["all"] and not names and not indices:
        return "all"
    listed = [name for text in lists for name in split_names(text, load_names)]
    return [*listed, *names, *indices] or None


def load_class_names(client: "Client", model: str) -> ClassNames:
    """Return the class names of a model; none if they cannot be read: the request itself then says what is wrong."""
    try:
        return ClassNames(client.model(model).get("class_names", []))
    except ArchetypeError:
        return ClassNames([])


def split_names(text: str, load_names: Callable[[], ClassNames]) -> list[str]:
    """Split a list of class names at its commas, but not at a comma that belongs to a name.

    Args:
        text: The list.
        load_names: Returns the class names of the model; only called if the list contains a comma.
    """
    if "," not in text:
        return [text.strip()] if text.strip() else []
    names = load_names()
    if names.find_all(text):
        return [text.strip()]
    if '"' in text:
        (row,) = csv.reader([text], skipinitialspace=True)
        return [name.strip() for name in row if name.strip()]
    return [name.strip() for name in _join(text.split(","), names) if name.strip()]


def _join(parts: list[str], names: ClassNames) -> list[str]:
    """Join neighboring parts that are a class name together; the longest name wins."""
    joined, most = [], 1 + max((name.count(",") for name in names.names), default=0)
    while parts:
        lengths = range(min(most, len(parts)), 1, -1)
        length = next((length for length in lengths if names.find_all(",".join(parts[:length]))), 1)
        joined.append(",".join(parts[:length]))
        parts = parts[length:]
    return joined
