"""`archetype context`: names of services, so that neither URL nor key has to be given with each command."""

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from archetype.cli.console import command, errors_reported, print_line, print_table
from archetype.contract.problem import InvalidDocument
from archetype.contract.strict_json import dump_json

Name = Annotated[str, typer.Argument(help="Name of the context.")]

app = typer.Typer(no_args_is_help=True, help="Name services and choose one of them.")


class Context(BaseModel):
    """A service: its URL, and the API key if it requires one."""

    url: str
    key: str = ""


class Contexts(BaseModel):
    """All contexts of a user by name, and the name of the one in use; empty if none is."""

    used: str = ""
    contexts: dict[str, Context] = {}

    def find_used(self) -> Context | None:
        """The context in use."""
        return self.contexts.get(self.used)


def locate() -> Path:
    """The file of the contexts, which only its user can read."""
    folder = os.environ.get("XDG_CONFIG_HOME", "").strip()
    return (Path(folder) if folder else Path.home() / ".config") / "archetype" / "contexts.json"


def load() -> Contexts:
    """Read the contexts. Raises `InvalidDocument` if the file is damaged, and `OSError` if it cannot be read."""
    path = locate()
    try:
        return Contexts.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Contexts()
    except ValidationError as error:
        raise InvalidDocument(f"{path} is damaged: remove it, and add the contexts again") from error


def save(contexts: Contexts) -> None:
    """Write the contexts. The file is complete at each moment."""
    path = locate()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(dump_json(contexts.model_dump(), indent=1), encoding="utf-8")
    partial.replace(path)


@command(app, "add")
def add_context(
    name: Name,
    url: Annotated[str, typer.Option(help="URL of the service.")],
    key: Annotated[
        str, typer.Option(envvar="ARCHETYPE_KEY", help="API key, if the service requires one.", show_envvar=True)
    ] = "",
) -> None:
    """Add or replace a context, and use it. The key is stored in a file that only you can read."""
    if not name.strip() or not url.startswith(("http://", "https://")):
        raise typer.BadParameter("give a name, and a URL that begins with http:// or https://")
    with errors_reported():
        contexts = load()
        contexts.contexts[name] = Context(url=url.strip(), key=key.strip())
        save(contexts.model_copy(update={"used": name}))
    print_line(f"{name}: {url}", {"context": name, "url": url})


@command(app, "use")
def use_context(name: Name) -> None:
    """Use a context for the following commands."""
    with errors_reported():
        contexts = load()
        if name not in contexts.contexts:
            raise InvalidDocument(_explain_unknown(name, contexts))
        save(contexts.model_copy(update={"used": name}))
    url = contexts.contexts[name].url
    print_line(f"{name}: {url}", {"context": name, "url": url})


@command(app, "list")
def list_contexts() -> None:
    """List the contexts. A star marks the one in use."""
    with errors_reported():
        contexts = load()
    rows = [("*" if name == contexts.used else "", name, each.url) for name, each in contexts.contexts.items()]
    documents = [{"context": name, "url": url, "used": bool(star)} for star, name, url in rows]
    print_table(("used", "context", "URL"), rows, documents)


@command(app, "remove")
def remove_context(name: Name) -> None:
    """Remove a context with its key."""
    with errors_reported():
        contexts = load()
        if contexts.contexts.pop(name, None) is None:
            raise InvalidDocument(_explain_unknown(name, contexts))
        save(contexts)


def _explain_unknown(name: str, contexts: Contexts) -> str:
    known = ", ".join(contexts.contexts)
    return f"there is no context {name!r}; " + (f"there are: {known}" if known else "`archetype context add` adds one")
