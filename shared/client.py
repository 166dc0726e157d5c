"""The Python client: the contract over HTTP as typed calls.

with Client("http://127.0.0.1:8080") as client:
    job = client.submit(ClassModel(method="class_model", model="shapes", targets=["lemon"]))
    for job in client.watch(job.id):
        print(job.state, job.progress.done, job.progress.total)
    client.save(job, Path("pictures"))
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
from pydantic import ValidationError

from shared.access import IssuedKey, Key, Keys, NewKey
from shared.audits import Audits, AuditView, NewAudit, Trend
from shared.errors import ProblemDocument
from shared.events import Event
from shared.jobs import Artifact, Job, Jobs, State
from shared.methods import AnyRequest
from shared.registration import NewRelease
from shared.schedules import Announcement, NewSchedule, Schedule, Schedules
from shared.uploads import ArchiveFacts, Image
from shared.webhooks import Deliveries, Delivery, Secrets

SOONEST, JOB_SECONDS, AUDIT_SECONDS = 0.02, 0.25, 1.0
"""Between two looks at a job or an audit, at first and at most: what takes no time is not waited for."""

MOST_BREAKS = 5
"""So often in a row events may fail to be heard."""


Watched = TypeVar("Watched", Job, AuditView)


class ServiceError(Exception):
    """The service refused a call or could not serve it.

    Attributes:
        problem: What it said, or None if what answered was not this service.
    """

    def __init__(self, message: str, problem: ProblemDocument | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class Client:
    """A connection to the service. Every call raises `ServiceError` when it is refused or gets no answer."""

    def __init__(self, url: str, *, timeout: float = 30, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx2.HTTPTransport(retries=2)
        self._http = httpx2.Client(base_url=url, timeout=timeout, transport=transport, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(
        self, request: AnyRequest, *, idempotency_key: str | None = None, cancel_after: str | None = None
    ) -> Job:
        """Submits a job and returns it as it was accepted.

        Args:
            idempotency_key: With the same one, the same request gives the same job.
            cancel_after: `90s`, `15m`, `1h30m`: if it has not ended by then, it is cancelled.
        """
        said = {"Idempotency-Key": idempotency_key, "Cancel-After": cancel_after}
        headers = {name: value for name, value in said.items() if value is not None}
        body = request.model_dump(mode="json", exclude_unset=True)
        return Job.model_validate_json(self._call("POST", "/v1/jobs", json=body, headers=headers).content)

    def job(self, job_id: str) -> Job:
        """The job as it stands."""
        return Job.model_validate_json(self._call("GET", f"/v1/jobs/{job_id}").content)

    def watch(self, job_id: str, *, timeout: float = 3600) -> Iterator[Job]:
        """Yields the job as it proceeds, last when it has ended. Raises `TimeoutError` if it does not."""
        return _watch(partial(self.job, job_id), f"job {job_id}", timeout, pause=JOB_SECONDS)

    def wait(self, job_id: str, *, timeout: float = 3600) -> Job:
        """The job once it has ended."""
        *_, job = self.watch(job_id, timeout=timeout)
        return job

    def events(
        self, job_id: str | None = None, *, audit_id: str | None = None, after: str | None = None
    ) -> Iterator[Event]:
        """Yields what happens as it happens: to one job or audit until it has ended, or to all jobs for ever.

        A connection that breaks is made again, and goes on after the last event that came through it.

        Args:
            after: The id of an event, to be given those that came after it.
        """
        one = job_id or audit_id
        path = f"/v1/jobs/{job_id}/events" if job_id else f"/v1/audits/{audit_id}/events" if audit_id else "/v1/events"
        failed = 0
        while failed < MOST_BREAKS:
            try:
                for event in self._listen(path, after):
                    after, failed = event.id, 0
                    yield event
                    if one is not None and event.state.terminal:
                        return
            except httpx2.TransportError:
                failed += 1
                time.sleep(failed)
        raise ServiceError(f"no answer from {self._http.base_url} for events; is the service running?")

    def _listen(self, path: str, after: str | None) -> Iterator[Event]:
        headers = {"Last-Event-ID": after} if after is not None else {}
        with self._http.stream("GET", path, headers=headers) as response:
            if response.is_error:
                response.read()
                raise _read_error(response)
            said: dict[str, str] = {}
            for line in response.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    said[name] = value
                elif "data" in said:
                    yield Event.model_validate(json.loads(said["data"]) | {"id": said["id"], "event": said["event"]})
                    said = {}

    def jobs(
        self, *, state: State | None = None, method: str | None = None, model: str | None = None, tag: str | None = None
    ) -> Iterator[Job]:
        """Every job that fits, newest first, page by page."""
        query: dict[str, Any] = {"state": state, "method": method, "model": model, "tag": tag, "limit": 200}
        query = {name: value for name, value in query.items() if value is not None}
        while True:
            page = Jobs.model_validate_json(self._call("GET", "/v1/jobs", params=query).content)
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def cancel(self, job_id: str) -> Job:
        """Asks for a job to be cancelled; returns it as it stands."""
        return Job.model_validate_json(self._call("POST", f"/v1/jobs/{job_id}/cancel").content)

    def retry(self, job_id: str) -> Job:
        """A new job with the request of one that has failed or was cancelled."""
        return Job.model_validate_json(self._call("POST", f"/v1/jobs/{job_id}/retry").content)

    def delete(self, job_id: str) -> None:
        """Removes a job that has ended, and all that it made."""
        self._call("DELETE", f"/v1/jobs/{job_id}")

    def fetch(self, artifact: Artifact) -> bytes:
        """An artefact's bytes."""
        return self._call("GET", artifact.href).content

    def location(self, artifact: Artifact) -> str:
        """A URL of the object store that anyone may get an artefact from for five minutes."""
        return str(self._call("GET", artifact.href, params={"redirect": 1}).headers["Location"])

    def save(self, job: Job, folder: Path) -> list[Path]:
        """Saves all artefacts of a job into a folder, which is made if need be; returns their paths."""
        return self.save_artifacts(job.artifacts, folder)

    def save_artifacts(self, artifacts: Sequence[Artifact], folder: Path) -> list[Path]:
        """Saves artefacts into a folder, which is made if need be; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / Path(artifact.name).name for artifact in artifacts]
        for path, artifact in zip(paths, artifacts, strict=True):
            path.write_bytes(self.fetch(artifact))
        return paths

    def audit(self, new: NewAudit) -> AuditView:
        """Audits a release; the audit that there is, where the same releases were audited under the same plan."""
        body = new.model_dump(mode="json", exclude_unset=True)
        return AuditView.model_validate_json(self._call("POST", "/v1/audits", json=body).content)

    def get_audit(self, audit_id: str) -> AuditView:
        """An audit as it stands."""
        return AuditView.model_validate_json(self._call("GET", f"/v1/audits/{audit_id}").content)

    def watch_audit(self, audit_id: str, *, timeout: float = 3600) -> Iterator[AuditView]:
        """Yields an audit as it proceeds, last when it has ended. Raises `TimeoutError` if it does not."""
        return _watch(partial(self.get_audit, audit_id), f"audit {audit_id}", timeout, pause=AUDIT_SECONDS)

    def audits(self, *, model: str | None = None) -> Iterator[Job]:
        """Every audit, newest first, page by page, without verdicts."""
        query: dict[str, Any] = {"limit": 200} | ({"model": model} if model else {})
        while True:
            page = Audits.model_validate_json(self._call("GET", "/v1/audits", params=query).content)
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def cancel_audit(self, audit_id: str) -> AuditView:
        """Cancels an audit with all of its jobs."""
        return AuditView.model_validate_json(self._call("POST", f"/v1/audits/{audit_id}/cancel").content)

    def report(self, audit_id: str) -> str:
        """An audit's report: one HTML file with its pictures in it."""
        return self._call("GET", f"/v1/audits/{audit_id}/report").text

    def trend(self, model: str) -> Trend:
        """How a model's releases have done in their audits, the oldest release first."""
        return Trend.model_validate_json(self._call("GET", f"/v1/models/{model}/trend").content)

    def schedule(self, new: NewSchedule) -> Schedule:
        """Has a model's releases audited by themselves."""
        body = new.model_dump(mode="json", exclude_unset=True)
        return Schedule.model_validate_json(self._call("POST", "/v1/schedules", json=body).content)

    def schedules(self) -> list[Schedule]:
        """Every schedule, the oldest first."""
        return Schedules.model_validate_json(self._call("GET", "/v1/schedules").content).items

    def get_schedule(self, schedule_id: str) -> Schedule:
        """A schedule with what came of it."""
        return Schedule.model_validate_json(self._call("GET", f"/v1/schedules/{schedule_id}").content)

    def delete_schedule(self, schedule_id: str) -> None:
        """Removes a schedule; its audits stay."""
        self._call("DELETE", f"/v1/schedules/{schedule_id}")

    def announce(self, model: str) -> Announcement:
        """Says that there is a release: the audits start that its model's schedules ask for."""
        return Announcement.model_validate_json(self._call("POST", "/v1/releases", json={"model": model}).content)

    def upload(self, data: bytes, name: str = "picture") -> Image:
        """Uploads a picture; its id can be named in jobs."""
        return Image.model_validate_json(self._call("POST", "/v1/images", files={"file": (name, data)}).content)

    def picture(self, image_id: str) -> bytes:
        """A picture as it was uploaded."""
        return self._call("GET", f"/v1/images/{image_id}").content

    def upload_archive(self, path: Path) -> ArchiveFacts:
        """Uploads a ZIP archive of pictures; its id can be named in jobs."""
        with path.open("rb") as file:
            answer = self._call("POST", "/v1/archives", files={"file": (path.name, file)})
        return ArchiveFacts.model_validate_json(answer.content)

    def methods(self) -> list[dict[str, Any]]:
        """The menu, with JSON Schemas."""
        return list(self._call("GET", "/v1/methods").json()["items"])

    def upload_weights(self, path: Path) -> str:
        """Uploads weights, for operators; the id that they can be registered by."""
        with path.open("rb") as file:
            answer = self._call("POST", "/v1/weights", files={"file": (path.name, file)}, timeout=600)
        return str(answer.json()["id"])

    def register(self, release: NewRelease, *, seconds: int = 60) -> dict[str, Any]:
        """Registers a release, for operators; the model with all its releases once a worker has tried it.

        Raises:
            TimeoutError: No worker has, after so many seconds.
        """
        body, headers = release.model_dump(mode="json", exclude_unset=True), {"Prefer": f"wait={seconds}"}
        answer = self._call("POST", "/v1/models", json=body, headers=headers, timeout=seconds + 30)
        if answer.status_code == 202:
            raise TimeoutError(f"no worker has tried {release.name}@{release.release} after {seconds} s; it is stored")
        return dict(answer.json())

    def models(self) -> list[dict[str, Any]]:
        """The catalogue."""
        return list(self._call("GET", "/v1/models").json()["items"])

    def model(self, name: str) -> dict[str, Any]:
        """A model with its releases, class names and layers."""
        return dict(self._call("GET", f"/v1/models/{name}").json())

    def webhook_secret(self, *, renew: bool = False) -> str:
        """What messages to webhooks are signed with.

        Args:
            renew: Make a new one; for a day messages are signed with the one before as well.
        """
        answer = self._call("POST" if renew else "GET", "/v1/webhooks/secret")
        return Secrets.model_validate_json(answer.content).items[0].secret

    def deliveries(self, *, limit: int = 50) -> list[Delivery]:
        """The newest messages to webhooks, with every try."""
        answer = self._call("GET", "/v1/webhooks/deliveries", params={"limit": limit})
        return Deliveries.model_validate_json(answer.content).items

    def delivery(self, delivery_id: str) -> Delivery:
        """A message to a webhook, with every try."""
        return Delivery.model_validate_json(self._call("GET", f"/v1/webhooks/deliveries/{delivery_id}").content)

    def replay(self, delivery_id: str) -> Delivery:
        """Sends a message to a webhook again."""
        answer = self._call("POST", f"/v1/webhooks/deliveries/{delivery_id}/replay")
        return Delivery.model_validate_json(answer.content)

    def issue_key(self, new: NewKey) -> IssuedKey:
        """A new key, for whoever runs the service; what opens with it is not shown again."""
        body = new.model_dump(mode="json", exclude_unset=True)
        return IssuedKey.model_validate_json(self._call("POST", "/v1/keys", json=body).content)

    def list_keys(self) -> list[Key]:
        """Every key there is, or was, for whoever runs the service."""
        return Keys.model_validate_json(self._call("GET", "/v1/keys").content).items

    def revoke_key(self, key_id: str) -> Key:
        """Ends a key for good, for whoever runs the service."""
        return Key.model_validate_json(self._call("DELETE", f"/v1/keys/{key_id}").content)

    def health(self) -> dict[str, str]:
        """The parts that the service depends on, and `ok` or what is wrong with each."""
        answer = self._send("GET", "/readyz")
        if answer.status_code not in (200, 503):
            raise _read_error(answer)
        return dict(answer.json()["parts"])

    def metrics(self) -> str:
        """What the service counts, in Prometheus' text format."""
        return self._call("GET", "/metrics").text

    def _call(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        response = self._send(method, path, **arguments)
        if response.is_error:
            raise _read_error(response)
        return response

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx2.TransportError as error:
            raise ServiceError(f"no answer from {self._http.base_url} ({error}); is the service running?") from error


def _read_error(response: httpx2.Response) -> ServiceError:
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        return ServiceError(f"{response.request.url} answered {response.status_code} and no problem document")
    return ServiceError(problem.detail, problem)


def _watch(look: Callable[[], Watched], name: str, timeout: float, *, pause: float) -> Iterator[Watched]:
    began = time.monotonic()
    while True:
        found = look()
        yield found
        if found.state.terminal:
            return
        waited = time.monotonic() - began
        if waited > timeout:
            raise TimeoutError(f"{name} has not ended after {timeout:.0f} s; it is still {found.state}")
        time.sleep(min(pause, max(SOONEST, waited / 5)))
