"""Calls of an MLflow tracking server. Each has a limit for the whole of it, however slowly the server answers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx2

from api.adapters.oidc_http import is_loopback
from archetype.contract.strict_json import load_json
from shared.settings import Settings

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PROXIED = "mlflow-artifacts"
"""Scheme of artifacts that the server passes on, from whatever store they are in."""

MAX_DOCUMENT_BYTES = 4_000_000
EXCERPT = 200

T = TypeVar("T")


class RegistryFailed(Exception):
    """The registry does not answer, or not as it should. The message names the cause."""


class NotProxied(Exception):
    """The server does not pass on the artifacts of a version: they are at an address that only its clients know."""


class TooManyBytes(Exception):
    """An artifact is larger than the service accepts."""


class NoRoom(Exception):
    """This machine cannot store a file temporarily."""


@dataclass(frozen=True)
class ArtifactFile:
    """A file or folder of a version.

    Attributes:
        path: Its path in the server's artifacts.
        is_folder: Whether it is a folder.
    """

    path: str
    is_folder: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class MlflowRegistry:
    """The API of an MLflow tracking server. The address is the operator's; addresses in answers are never used."""

    def __init__(self, settings: Settings) -> None:
        self._url, self._token, self._ca_bundle = settings.mlflow_url or "", settings.mlflow_token, settings.ca_bundle

    def post(self, calls: Sequence[tuple[str, Mapping[str, Any]]], *, seconds: float) -> None:
        """Makes calls with JSON bodies one after the other, and does not read the answers.

        Args:
            calls: Path below the API and body of each.
            seconds: Limit for all calls together.

        Raises:
            httpx2.HTTPStatusError: The registry refuses a call.
            httpx2.HTTPError: The registry does not answer.
            TimeoutError: The registry has not answered all calls in time.
        """

        async def send(http: httpx2.AsyncClient) -> None:
            for path, body in calls:
                async with _open(http, "POST", f"{API}/{path}", json=body) as response:
                    response.raise_for_status()

        self._run(send, seconds)

    def put_artifact(self, path: str, data: bytes, *, seconds: float) -> None:
        """Stores a file among the server's artifacts. Raises as `post`."""

        async def send(http: httpx2.AsyncClient) -> None:
            async with _open(http, "PUT", f"{ARTIFACTS}/{quote(path)}", content=data) as response:
                response.raise_for_status()

        self._run(send, seconds)

    def get(self, path: str, query: Mapping[str, str], *, seconds: float) -> dict[str, Any]:
        """Returns the JSON object at a path below the API. Raises `RegistryFailed`."""
        return self._read(f"{API}/{path}", query, seconds)

    def list_folder(self, path: str, *, seconds: float) -> list[ArtifactFile]:
        """Returns the files and folders directly in a folder of the artifacts. Raises `RegistryFailed`."""
        files = self._read(ARTIFACTS, {"path": path}, seconds).get("files") or []
        try:
            return [
                ArtifactFile(f"{path}/{_check_name(each['path'])}", is_folder=bool(each.get("is_dir")))
                for each in files
            ]
        except (TypeError, KeyError, AttributeError) as error:
            raise RegistryFailed(f"the registry listed {path!r} in a way that is not understood ({error})") from error

    def find_folder(self, model: str, version: str, *, seconds: float) -> str:
        """Returns the folder of a version in the server's artifacts.

        Raises:
            NotProxied: The artifacts are elsewhere.
            RegistryFailed: The registry does not answer.
        """
        query = {"name": model, "version": version}
        uri = str(self.get("model-versions/get-download-uri", query, seconds=seconds).get("artifact_uri", ""))
        folder = locate(uri)
        if folder is None:
            raise NotProxied(uri)
        return folder

    def download(self, path: str, target: IO[bytes], *, seconds: float, max_bytes: int) -> int:
        """Appends a file of the artifacts to a file.

        Args:
            path: Its path in the server's artifacts.
            target: Where it is written.
            seconds: Limit for the whole download.
            max_bytes: Largest size.

        Returns:
            Its size.

        Raises:
            TooManyBytes: The file is larger.
            NoRoom: It cannot be written.
            RegistryFailed: The registry does not answer, or not in time.
        """

        async def read(http: httpx2.AsyncClient) -> int:
            size = 0
            async with _open(http, "GET", f"{ARTIFACTS}/{quote(path)}") as response:
                response.raise_for_status()
                async for chunk in response.aiter_raw():
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooManyBytes(f"{path} has more than {max_bytes} bytes")
                    _write(target, chunk)
            return size

        size: int = self._explain(lambda: self._run(read, seconds), path, seconds)
        return size

    def _read(self, path: str, query: Mapping[str, str], seconds: float) -> dict[str, Any]:
        async def read(http: httpx2.AsyncClient) -> bytes:
            body = b""
            async with _open(http, "GET", path, params=dict(query)) as response:
                async for chunk in response.aiter_raw():  # not decompressed: a small answer could become a large one
                    body += chunk
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise RegistryFailed(f"the registry's answer has more than {MAX_DOCUMENT_BYTES} bytes")
                if response.status_code != 200:
                    raise RegistryFailed(f"the registry answered {response.status_code}: {_shorten(body)}")
            return body

        body = self._explain(lambda: self._run(read, seconds), path, seconds)
        try:
            document = load_json(body.decode())
        except (ValueError, RecursionError) as error:
            raise RegistryFailed(f"the registry answered without JSON: {_shorten(body)}") from error
        if not isinstance(document, dict):
            raise RegistryFailed(f"the registry answered without a JSON object: {_shorten(body)}")
        return document

    @staticmethod
    def _explain(call: Callable[[], T], path: str, seconds: float) -> T:
        """Makes a call; whatever the HTTP library raises becomes `RegistryFailed`."""
        try:
            return call()
        except TimeoutError as error:
            raise RegistryFailed(f"the registry did not answer {path} within {seconds:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise RegistryFailed(
                f"the registry does not answer ({type(error).__name__}: {str(error)[:EXCERPT]})"
            ) from error

    def _run(self, use: Callable[[httpx2.AsyncClient], Any], seconds: float) -> Any:
        async def connect() -> Any:
            headers = {"Accept-Encoding": "identity"}
            if self._token is not None:
                headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
            # Without a limit of its own: `seconds` is for the whole exchange.
            async with httpx2.AsyncClient(
                base_url=self._url,
                headers=headers,
                timeout=None,
                verify=self._trust(),
                trust_env=not is_loopback(urlsplit(self._url).hostname or ""),
            ) as http:
                return await use(http)

        return asyncio.run(asyncio.wait_for(connect(), seconds))

    def _trust(self) -> ssl.SSLContext:
        trust = ssl.create_default_context()
        if self._ca_bundle is not None:
            trust.load_verify_locations(self._ca_bundle)
        return trust


def locate(uri: str) -> str | None:
    """Returns the place of a URI in the server's artifacts; None if the server does not pass it on."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    folder = parts.path.strip("/")
    return folder if parts.scheme == PROXIED and folder and ".." not in folder.split("/") else None


@asynccontextmanager
async def _open(http: httpx2.AsyncClient, method: str, path: str, **content: Any) -> AsyncIterator[httpx2.Response]:
    """Sends a request; the body of the response is read by the caller, or not at all."""
    response = await http.send(http.build_request(method, path, **content), stream=True)
    try:
        yield response
    finally:
        await response.aclose()


def _write(target: IO[bytes], chunk: bytes) -> None:
    try:
        target.write(chunk)
    except OSError as error:
        raise NoRoom(f"the scheduler cannot store the weights temporarily ({error.strerror})") from error


def _check_name(name: Any) -> str:
    """Returns the name of a file in a folder. Raises `RegistryFailed` if it leads elsewhere."""
    if not isinstance(name, str) or not name or "/" in name or name in (".", "..") or not name.isprintable():
        raise RegistryFailed(f"the registry named a file {str(name)[:EXCERPT]!r}")
    return name


def _shorten(body: bytes) -> str:
    text = body[: 4 * EXCERPT].decode(errors="replace")
    return "".join(character if character.isprintable() else " " for character in text)[:EXCERPT] or "an empty answer"
