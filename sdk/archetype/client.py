"""The Python client: every call of the HTTP API as a typed method.

with Client("http://127.0.0.1:8080") as client:
    client.class_model("shapes", ["lemon"]).wait().save("pictures")
"""

import base64
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2
from pydantic import BaseModel

from archetype import contract
from archetype.contract.api_key import IssuedKey, Key, Keys, NewKey
from archetype.contract.job import Artifact, Artifacts, Event, Job, Jobs, State
from archetype.contract.protocols.explain import ExplainResponse
from archetype.contract.protocols.mlflow_import import ImportedVersion, ImportedVersions
from archetype.contract.registration import NewRelease, RegisteredRelease, Registrations
from archetype.contract.report.decision import Decision, NewDecision
from archetype.contract.report.signature import Signature, SigningKey
from archetype.contract.request import AnyRequest
from archetype.contract.upload import ArchiveFacts, Image
from archetype.contract.webhook import Deliveries, Delivery, Secrets
from archetype.errors import ServiceError, TimedOut
from archetype.files import find_path, packed, write_file
from archetype.handles import JobHandle
from archetype.methods import MethodCalls
from archetype.polling import poll
from archetype.retries import RETRY_SECONDS
from archetype.transport import Transport

__all__ = ["Client", "ServiceError"]

JOB_POLL_SECONDS, AUDIT_POLL_SECONDS = 0.25, 1.0
"""The longest pause between two polls of a job or an audit."""

UPLOAD_SECONDS = 600
"""Limit for the answer to an upload of weights, which the service checks before it answers."""


class Client(MethodCalls):
    """A connection to the service. Every call raises an `ArchetypeError` if it is refused or gets no answer.

    Args:
        url: The URL of the service.
        timeout: Seconds without an answer after which a call fails.
        key: The API key, if the service requires one.
        retry_seconds: For how long a request is sent again that was refused with 429, failed with 5xx or lost its
            connection. `Retry-After` is honored. Requests that must not be repeated are repeated only after a 429.
            With 0, every failure is raised at once.
        transport: Sends the requests instead of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30,
        key: str | None = None,
        retry_seconds: float = RETRY_SECONDS,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(url, timeout=timeout, key=key, retry_seconds=retry_seconds, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._transport.url}>"

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _limit(self, seconds: float) -> dict[str, float]:
        """Limits of a request that is part of a wait."""
        transport = self._transport
        return {"timeout": min(seconds, transport.timeout), "retry_seconds": min(seconds, transport.retry_seconds)}

    # Jobs

    def start(
        self, request: AnyRequest, *, idempotency_key: str | None = None, cancel_after: str | None = None
    ) -> JobHandle:
        """Submit a request and return the handle of its job. Arguments as in `submit`."""
        return JobHandle(self, self.submit(request, idempotency_key=idempotency_key, cancel_after=cancel_after))

    def handle(self, job_id: str) -> JobHandle:
        """Return the handle of an existing job."""
        return JobHandle(self, self.job(job_id))

    def submit(
        self, request: AnyRequest, *, idempotency_key: str | None = None, cancel_after: str | None = None
    ) -> Job:
        """Submit a request and return its job as it was accepted.

        Args:
            request: The request.
            idempotency_key: The same key and the same request return the same job for a day. By default, a new key,
                with which this call is repeated safely if it fails.
            cancel_after: `90s`, `15m`, `1h30m`: the job is cancelled if it has not ended by then.
        """
        optional = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex, "Cancel-After": cancel_after}
        headers = {name: value for name, value in optional.items() if value is not None}
        body = {"method": request.method, **_dump(request)}
        return self._transport.read(Job, "POST", "/v1/jobs", json=body, headers=headers)

    def job(self, job_id: str) -> Job:
        """Return a job."""
        return self._transport.read(Job, "GET", f"/v1/jobs/{job_id}")

    def watch(self, job_id: str, *, timeout: float = 3600) -> Iterator[Job]:
        """Yield the states of a job, the terminal one last. Raises `TimedOut` if it has not ended in time."""

        def read(seconds: float) -> Job:
            return self._transport.read(Job, "GET", f"/v1/jobs/{job_id}", **self._limit(seconds))

        return poll(read, f"job {job_id}", timeout=timeout, pause=JOB_POLL_SECONDS)

    def wait(self, job_id: str, *, timeout: float = 3600) -> Job:
        """Wait until a job has ended and return it, whatever its state. Raises `TimedOut`."""
        *_, job = self.watch(job_id, timeout=timeout)
        return job

    def events(
        self,
        job_id: str | None = None,
        *,
        audit_id: str | None = None,
        after: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[Event]:
        """Yield events as they happen: of one job or audit until it has ended, otherwise of all jobs without end.

        A connection that breaks is opened again and continues after the last event.

        Args:
            job_id: Only events of this job.
            audit_id: Only events of this audit.
            after: The id of an event; only later events are yielded.
            timeout: Seconds after which `TimedOut` is raised; without it, there is no limit.
        """
        path = "/v1/events"
        if job_id is not None:
            path = f"/v1/jobs/{job_id}/events"
        elif audit_id is not None:
            path = f"/v1/audits/{audit_id}/events"
        for event in self._transport.events(path, after=after, timeout=timeout):
            yield event
            if event.state.terminal and path != "/v1/events":
                return

    def jobs(
        self, *, state: State | None = None, method: str | None = None, model: str | None = None, tag: str | None = None
    ) -> Iterator[Job]:
        """Yield all jobs that match, newest first, without artifacts and metrics."""
        return self._transport.pages(Jobs, "/v1/jobs", state=state, method=method, model=model, tag=tag)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job and return it. A queued job ends at once, a running job at its next step."""
        return self._transport.read(Job, "POST", f"/v1/jobs/{job_id}/cancel", repeatable=True)

    def retry(self, job_id: str) -> Job:
        """Submit the request of a failed or cancelled job again and return the new job."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._transport.read(Job, "POST", f"/v1/jobs/{job_id}/retry", headers=headers)

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its files."""
        self._transport.request("DELETE", f"/v1/jobs/{job_id}")

    # Artifacts

    def artifacts(self, job: Job) -> Iterator[Artifact]:
        """Yield all artifacts of a job that has ended. `job.artifacts` has the first thousand."""
        if "all_artifacts" in job.links:
            return self._transport.pages(Artifacts, f"/v1/jobs/{job.id}/artifacts")
        return iter(job.artifacts)

    def fetch(self, artifact: Artifact) -> bytes:
        """Return the bytes of an artifact."""
        return self._transport.request("GET", artifact.href).content

    def archive(self, job: Job) -> bytes:
        """Return all artifacts of a job as a ZIP archive; `save` needs less memory."""
        return self._transport.request("GET", f"/v1/jobs/{job.id}/archive").content

    def location(self, artifact: Artifact) -> str:
        """Return a URL of the object store from which anyone can download the artifact for five minutes."""
        return str(self._transport.request("GET", artifact.href, params={"redirect": 1}).headers["Location"])

    def save(self, job: Job, folder: Path | str) -> list[Path]:
        """Save all artifacts of a job into a folder, which is created if it does not exist; return their paths."""
        return self.save_artifacts(list(self.artifacts(job)), folder)

    def save_artifacts(self, artifacts: Sequence[Artifact], folder: Path | str) -> list[Path]:
        """Save artifacts into a folder, which is created if it does not exist; return their paths.

        Raises:
            ServerError: The name of an artifact is not that of a file in the folder. Nothing is saved.
        """
        folder = Path(folder)
        paths = [find_path(folder, artifact.name) for artifact in artifacts]
        folder.mkdir(parents=True, exist_ok=True)
        for path, artifact in zip(paths, artifacts, strict=True):
            write_file(path, self.fetch(artifact))
        return paths

    # Images

    def upload(self, data: bytes, name: str = "image") -> Image:
        """Upload an image. Its id can be used in requests."""
        return self._transport.read(Image, "POST", "/v1/images", files={"file": (name, data)}, repeatable=True)

    def image(self, image_id: str) -> bytes:
        """Return the file of an uploaded image."""
        return self._transport.request("GET", f"/v1/images/{image_id}").content

    picture = image
    """The name of `image` until version 0.3. Deprecated."""

    def upload_archive(self, path: Path) -> ArchiveFacts:
        """Upload a ZIP archive of images. Its id can be used in requests."""
        with path.open("rb") as file:
            upload = {"file": (path.name, file)}
            return self._transport.read(ArchiveFacts, "POST", "/v1/archives", files=upload, repeatable=True)

    # Audits

    def audit(self, new: "contract.audit.NewAudit") -> "contract.audit.AuditView":
        """Start an audit. If the same releases were audited with the same plan before, return that audit."""
        return self._transport.read(
            contract.audit.AuditView, "POST", "/v1/audits", json=_dump(new), repeatable=not new.again
        )

    def get_audit(self, audit_id: str) -> "contract.audit.AuditView":
        """Return an audit."""
        return self._transport.read(contract.audit.AuditView, "GET", f"/v1/audits/{audit_id}")

    def watch_audit(self, audit_id: str, *, timeout: float = 3600) -> "Iterator[contract.audit.AuditView]":
        """Yield the states of an audit, the terminal one last. Raises `TimedOut` if it has not ended in time."""

        def read(seconds: float) -> "contract.audit.AuditView":
            return self._transport.read(
                contract.audit.AuditView, "GET", f"/v1/audits/{audit_id}", **self._limit(seconds)
            )

        return poll(read, f"audit {audit_id}", timeout=timeout, pause=AUDIT_POLL_SECONDS)

    def audits(self, *, model: str | None = None) -> Iterator[Job]:
        """Yield all audits, newest first, without verdicts."""
        return self._transport.pages(contract.audit.Audits, "/v1/audits", model=model)

    def cancel_audit(self, audit_id: str) -> "contract.audit.AuditView":
        """Cancel an audit with all of its jobs."""
        return self._transport.read(contract.audit.AuditView, "POST", f"/v1/audits/{audit_id}/cancel", repeatable=True)

    def report(self, audit_id: str) -> str:
        """Return the report of an audit: one HTML file that contains its images."""
        return self._transport.request("GET", f"/v1/audits/{audit_id}/report").text

    def signature(self, audit_id: str) -> Signature:
        """Return the detached signature of `report.json`. Raises `ServiceError` if the service does not sign."""
        return self._transport.read(Signature, "GET", f"/v1/audits/{audit_id}/signature")

    def signing_key(self) -> SigningKey:
        """Return the public key that checks signatures. Raises `ServiceError` if the service does not sign."""
        return self._transport.read(SigningKey, "GET", "/v1/signing-key")

    def decide(self, audit_id: str, new: NewDecision) -> Decision:
        """Approve or reject an audited release, or waive its findings."""
        return self._transport.read(Decision, "POST", f"/v1/audits/{audit_id}/decision", json=_dump(new))

    def trend(self, model: str) -> "contract.audit.Trend":
        """Return the audit results of all releases of a model, oldest release first."""
        return self._transport.read(contract.audit.Trend, "GET", f"/v1/models/{model}/trend")

    # Schedules

    def schedule(self, new: "contract.schedule.NewSchedule") -> "contract.schedule.Schedule":
        """Create a schedule, which audits the releases of a model automatically."""
        return self._transport.read(contract.schedule.Schedule, "POST", "/v1/schedules", json=_dump(new))

    def schedules(self) -> "list[contract.schedule.Schedule]":
        """Return all schedules, oldest first."""
        return self._transport.read(contract.schedule.Schedules, "GET", "/v1/schedules").items

    def get_schedule(self, schedule_id: str) -> "contract.schedule.Schedule":
        """Return a schedule with the outcome for each release."""
        return self._transport.read(contract.schedule.Schedule, "GET", f"/v1/schedules/{schedule_id}")

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule. Its audits are kept."""
        self._transport.request("DELETE", f"/v1/schedules/{schedule_id}")

    def announce(self, model: str) -> "contract.schedule.Announcement":
        """Announce a new release: start the audits that the schedules of its model ask for."""
        return self._transport.read(
            contract.schedule.Announcement, "POST", "/v1/releases", json={"model": model}, repeatable=True
        )

    # Methods and models

    def methods(self) -> list[dict[str, Any]]:
        """Return all methods with the JSON Schemas of their requests."""
        return list(self._transport.read_fields("GET", "/v1/methods")["items"])

    def models(self) -> list[dict[str, Any]]:
        """Return all models of the catalogue."""
        return list(self._transport.read_fields("GET", "/v1/models")["items"])

    def model(self, name: str) -> dict[str, Any]:
        """Return a model with its releases, class names and layers."""
        return self._transport.read_fields("GET", f"/v1/models/{name}")

    def registrations(self) -> list[RegisteredRelease]:
        """Return the releases that you have registered, newest first, with the results of their checks (operators)."""
        return self._transport.read(Registrations, "GET", "/v1/registrations").items

    def atlas(self, name: str) -> dict[str, Any]:
        """Return the newest image of every class of a model that your jobs have drawn."""
        return self._transport.read_fields("GET", f"/v1/models/{name}/atlas")

    def explain(self, model: str, images: Sequence[bytes], *, seconds: int = 30, **parameters: Any) -> ExplainResponse:
        """Return the predicted class of each image and its saliency map, in one request.

        Args:
            model: `name` or `name@release`.
            images: Image files, at most 16.
            seconds: How long to wait.
            parameters: Parameters of the method `saliency`, such as `kind`.

        Raises:
            ServiceError: The images cannot be explained, or not in time.
        """
        instances = [{"b64": base64.b64encode(image).decode()} for image in images]
        return self._transport.read(
            ExplainResponse,
            "POST",
            f"/v1/models/{model}:explain",
            json={"instances": instances, "parameters": parameters},
            headers={"Prefer": f"wait={seconds}"},
        )

    def imported_versions(self) -> list[ImportedVersion]:
        """Return the versions of an MLflow registry that were or will be imported (operators), the newest first."""
        return self._transport.read(ImportedVersions, "GET", "/v1/registry/mlflow").items

    def upload_weights(self, path: Path) -> str:
        """Upload weights (operators). The id that is returned can be used in `register`.

        Args:
            path: A file of weights; or a Hugging Face model folder, or an ONNX file with weights beside it
                (NAME.onnx.data), which are packed first.
        """
        with packed(path) as file_path, file_path.open("rb") as file:
            upload = {"file": (path.name, file)}
            fields = self._transport.read_fields(
                "POST", "/v1/weights", files=upload, timeout=UPLOAD_SECONDS, repeatable=True
            )
        return str(fields["id"])

    def register(self, release: NewRelease, *, seconds: int = 60) -> dict[str, Any]:
        """Register a release (operators). Return the model with all its releases once a worker has loaded it.

        Args:
            release: The release.
            seconds: How long to wait for a worker.

        Raises:
            TimedOut: No worker has loaded the release in time. It is stored nevertheless.
        """
        headers = {"Prefer": f"wait={seconds}"}
        response = self._transport.request(
            "POST", "/v1/models", json=_dump(release), headers=headers, timeout=seconds + 30
        )
        if response.status_code == 202:
            name = f"{release.name}@{release.release}"
            raise TimedOut(f"no worker has tried {name} after {seconds} s; the release is stored")
        return dict(response.json())

    # Webhooks

    def webhook_secret(self, *, renew: bool = False) -> str:
        """Return the secret that messages to webhooks are signed with.

        Args:
            renew: Make a new secret. For a day, messages are signed with the former one as well.
        """
        return self._transport.read(Secrets, "POST" if renew else "GET", "/v1/webhooks/secret").items[0].secret

    def deliveries(self, *, limit: int = 50) -> list[Delivery]:
        """Return the newest messages to webhooks, with all delivery attempts."""
        return self._transport.read(Deliveries, "GET", "/v1/webhooks/deliveries", params={"limit": limit}).items

    def delivery(self, delivery_id: str) -> Delivery:
        """Return a message to a webhook, with all delivery attempts."""
        return self._transport.read(Delivery, "GET", f"/v1/webhooks/deliveries/{delivery_id}")

    def replay(self, delivery_id: str) -> Delivery:
        """Send a message to a webhook again."""
        return self._transport.read(Delivery, "POST", f"/v1/webhooks/deliveries/{delivery_id}/replay")

    # API keys

    def issue_key(self, new: NewKey) -> IssuedKey:
        """Issue an API key (operators). Its token is not shown again."""
        return self._transport.read(IssuedKey, "POST", "/v1/keys", json=_dump(new))

    def list_keys(self) -> list[Key]:
        """Return all API keys (operators), including those that are revoked or expired."""
        return self._transport.read(Keys, "GET", "/v1/keys").items

    def revoke_key(self, key_id: str) -> Key:
        """Revoke an API key (operators)."""
        return self._transport.read(Key, "DELETE", f"/v1/keys/{key_id}")

    # The service

    def health(self) -> dict[str, str]:
        """Return the parts that the service depends on, each with `ok` or what is wrong."""
        return dict(self._transport.read_fields("GET", "/readyz", accept=(503,))["parts"])

    def metrics(self) -> str:
        """Return the metrics of the service in the text format of Prometheus."""
        return self._transport.request("GET", "/metrics").text


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)
