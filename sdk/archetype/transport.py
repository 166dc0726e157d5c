"""HTTP: sends requests, turns failures into the client's errors, and reads pages and event streams."""

import math
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

import httpx2
from pydantic import BaseModel, ValidationError

from archetype.contract.job import Artifact, Artifacts, Event, Job, Jobs
from archetype.contract.problem import ProblemDocument
from archetype.contract.strict_json import load_json
from archetype.errors import ArchetypeError, NoConnection, RateLimited, ServerError, TimedOut, Unavailable, from_status
from archetype.retries import RETRY_SECONDS, can_retry, choose_pause, find_positions, is_repeatable

if TYPE_CHECKING:
    from archetype.contract.audit import Audits

CONNECT_RETRIES = 2
"""Retries if a connection cannot be opened, before the failure counts as one."""

MAX_RECONNECTS = 5
"""An event stream is given up after so many connections in a row that broke without an event."""

SHORT_CONNECTION_SECONDS = 1.0
"""An event stream that ends sooner than this without an event counts as broken."""

MIN_REQUEST_SECONDS = 1.0
"""The last request of a wait gets this long, even if less is left of the wait."""

PAGE_SIZE = 200

Model = TypeVar("Model", bound=BaseModel)


class Transport:
    """Requests to one service. Every method raises an `ArchetypeError` if it is refused or gets no answer.

    Attributes:
        url: The URL of the service.
        timeout: Seconds without an answer after which a request fails, unless it has a limit of its own.
        retry_seconds: For how long a failed request is sent again, unless it has a limit of its own.
        http: The HTTP client, with the connections and the headers of every request.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        key: str | None,
        retry_seconds: float = RETRY_SECONDS,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.retry_seconds = retry_seconds
        self._has_answered = False
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = transport or httpx2.HTTPTransport(retries=CONNECT_RETRIES)
        try:
            self.http = httpx2.Client(base_url=url, timeout=timeout, transport=transport, headers=headers)
        except httpx2.InvalidURL as error:
            raise NoConnection(f"{url!r} is not a URL ({error}); give one such as http://127.0.0.1:8080") from error

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        timeout: float | None = None,
        repeatable: bool | None = None,
        retry_seconds: float | None = None,
        **arguments: Any,
    ) -> httpx2.Response:
        """Send a request and return its response.

        The request is sent again after a 429, and, if it is repeatable, after a 5xx and after a connection that broke.

        Args:
            method: The HTTP method.
            path: The path, relative to the service's URL.
            accept: Error statuses that are returned instead of raised.
            timeout: Seconds without an answer after which `TimedOut` is raised; by default the client's.
            repeatable: Whether sending the request twice has the effect of sending it once; by default, whether its
                method says so or it has an `Idempotency-Key`.
            retry_seconds: For how long the request is sent again; by default the client's.
            arguments: Further arguments of `httpx2.Client.request`.
        """
        if repeatable is None:
            repeatable = is_repeatable(method, arguments.get("headers"))
        end = time.monotonic() + (self.retry_seconds if retry_seconds is None else retry_seconds)
        positions, attempt = find_positions(arguments), 0
        while True:
            try:
                return self._send(method, path, accept, self.timeout if timeout is None else timeout, arguments)
            except ArchetypeError as error:
                attempt += 1
                pause = choose_pause(error, attempt, end - time.monotonic())
                if pause is None or not can_retry(error, repeatable=repeatable, has_answered=self._has_answered):
                    raise
            time.sleep(pause)
            for file, position in positions:
                file.seek(position)

    def _send(
        self, method: str, path: str, accept: Collection[int], timeout: float, arguments: dict[str, Any]
    ) -> httpx2.Response:
        """Send a request once."""
        if self.http.is_closed:
            raise NoConnection("the client is closed; make a new one")
        try:
            response = self.http.request(method, path, timeout=timeout, **arguments)
        except httpx2.TransportError as error:
            raise self._explain_transport(error, f"{method} {path}", timeout) from error
        self._has_answered = True
        if response.is_error and response.status_code not in accept:
            raise _read_error(response)
        return response

    def read(self, kind: type[Model], method: str, path: str, **arguments: Any) -> Model:
        """Send a request and return the document that it is answered with."""
        response = self.request(method, path, **arguments)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise _unreadable(response, f"a {kind.__name__}") from error

    def read_fields(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the JSON object that it is answered with."""
        response = self.request(method, path, **arguments)
        try:
            fields = response.json()
        except ValueError as error:
            raise _unreadable(response, "JSON") from error
        if not isinstance(fields, dict):
            raise _unreadable(response, "a JSON object")
        return fields

    @overload
    def pages(self, kind: "type[Jobs | Audits]", path: str, **query: str | None) -> Iterator[Job]: ...

    @overload
    def pages(self, kind: type[Artifacts], path: str, **query: str | None) -> Iterator[Artifact]: ...

    def pages(self, kind: "type[Jobs | Audits | Artifacts]", path: str, **query: str | None) -> Iterator[Any]:
        """Yield every entry of a list, page by page. Query parameters that are None are left out."""
        parameters: dict[str, Any] = {name: value for name, value in query.items() if value is not None}
        while True:
            page = self.read(kind, "GET", path, params={**parameters, "limit": PAGE_SIZE})
            yield from page.items
            if page.next_cursor is None:
                return
            parameters["cursor"] = page.next_cursor

    def events(self, path: str, *, after: str | None, timeout: float | None) -> Iterator[Event]:
        """Yield the events of a stream, which may be endless. A connection that breaks is opened again.

        Args:
            path: The path of the stream.
            after: The id of the last event that is already known.
            timeout: Seconds for the whole stream, or None for no limit.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        failures = 0
        while failures < MAX_RECONNECTS:
            opened, pause = time.monotonic(), 0.0
            try:
                for event in self._listen(path, after, deadline):
                    after, failures, opened = event.id, 0, 0.0
                    yield event
                failures += time.monotonic() - opened < SHORT_CONNECTION_SECONDS
            except httpx2.TransportError:
                failures += 1
            except (RateLimited, Unavailable) as error:
                failures, pause = failures + 1, error.retry_after or 0
                if failures >= MAX_RECONNECTS or not self.retry_seconds:
                    raise
            _check_deadline(deadline, path)
            time.sleep(min(max(failures, pause), _seconds_left(deadline)))
        raise NoConnection(f"no answer from {self.url} for events; is the service running?")

    def _listen(self, path: str, after: str | None, deadline: float | None) -> Iterator[Event]:
        headers = {"Last-Event-ID": after} if after is not None else {}
        if self.http.is_closed:
            raise NoConnection("the client is closed; make a new one")
        timeout = min(self.timeout, max(_seconds_left(deadline), MIN_REQUEST_SECONDS))
        with self.http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise _read_error(response)
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                _check_deadline(deadline, path)  # an idle stream has a comment line every few seconds
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    yield _read_event(fields)
                    fields = {}

    def _explain_transport(self, error: httpx2.TransportError, call: str, timeout: float) -> ArchetypeError:
        if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
            return TimedOut(f"no answer from {self.url} to {call} within {timeout:g} s")
        return NoConnection(f"no answer from {self.url} ({error}); is the service running?")


def _read_event(fields: Mapping[str, str]) -> Event:
    try:
        identity = {"id": fields["id"], "event": fields["event"]}
        return Event.model_validate(load_json(fields["data"]) | identity)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(f"the service sent an event that cannot be read: {dict(fields)}") from error


def _seconds_left(deadline: float | None) -> float:
    return math.inf if deadline is None else max(0.0, deadline - time.monotonic())


def _check_deadline(deadline: float | None, path: str) -> None:
    if _seconds_left(deadline) == 0:
        raise TimedOut(f"{path} has not ended in time")


def _read_error(response: httpx2.Response) -> ArchetypeError:
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        message = f"{response.request.url} answered {response.status_code} and no problem document"
        return from_status(response.status_code, message, retry_after=_read_retry_after(response))
    return from_status(response.status_code, problem.detail, problem, retry_after=_read_retry_after(response))


def _read_retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds of `Retry-After`, which is a number or a time; None without it, or if the time is past."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment - datetime.now(moment.tzinfo)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def _unreadable(response: httpx2.Response, expected: str) -> ServerError:
    return ServerError(
        f"{response.request.url} answered {response.status_code}, but not with {expected} that this client can read; "
        "is it an Archetype service of this version?"
    )
