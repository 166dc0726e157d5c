"""Handles: a submitted job as an object with its state, its results and what can be done with it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from archetype.card import choose_images, render_card
from archetype.contract.job import Artifact, Job, Progress, State
from archetype.contract.problem import ProblemDocument
from archetype.errors import ArchetypeError, Conflict, JobCancelled, JobFailed

if TYPE_CHECKING:
    from archetype.client import Client


class JobHandle:
    """A job of the service. Its properties are those of the last answer; `refresh`, `wait` and `watch` update them.

    Attributes:
        job: The job as the service described it last.
    """

    def __init__(self, client: "Client", job: Job) -> None:
        self._client = client
        self._images: dict[str, bytes] = {}
        self.job = job

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}: {self.job.method} of {self.job.model}, {self.state}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def state(self) -> State:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
        return self.job.state

    @property
    def progress(self) -> Progress:
        """How many steps are done."""
        return self.job.progress

    @property
    def metrics(self) -> dict[str, Any]:
        """The measurements of the method."""
        return self.job.metrics

    @property
    def artifacts(self) -> list[Artifact]:
        """The files of the result; of a very large job the first thousand, see `Client.artifacts`."""
        return self.job.artifacts

    @property
    def error(self) -> ProblemDocument | None:
        """Why the job failed, or None."""
        return self.job.error

    def refresh(self) -> Self:
        """Ask the service for the current state."""
        self.job = self._client.job(self.id)
        return self

    def watch(self, timeout: float = 3600) -> Iterator[Job]:
        """Yield the job whenever it is polled, the terminal state last.

        Args:
            timeout: Seconds for the whole wait.

        Raises:
            TimedOut: The job has not ended in time.
        """
        for job in self._client.watch(self.id, timeout=timeout):
            self.job = job
            yield job

    def wait(self, timeout: float = 3600, *, raise_on_failure: bool = True) -> Self:
        """Wait until the job has ended.

        Args:
            timeout: Seconds for the whole wait.
            raise_on_failure: Raise an error if the job does not succeed. Otherwise look at `state` and `error`.

        Raises:
            TimedOut: The job has not ended in time.
            JobFailed: The job failed.
            JobCancelled: The job was cancelled.
        """
        for _ in self.watch(timeout):
            pass
        if raise_on_failure:
            self._raise_failure()
        return self

    def cancel(self) -> Self:
        """Cancel the job. A queued job ends at once, a running job at its next step."""
        self.job = self._client.cancel(self.id)
        return self

    def save(self, folder: Path | str) -> list[Path]:
        """Save all files of the result into a folder, which is created if it does not exist; return their paths.

        Raises:
            Conflict: The job has not ended.
            JobFailed: The job failed and has no files.
            JobCancelled: The job was cancelled and has no files.
        """
        if not self.state.terminal and not self.refresh().state.terminal:
            raise Conflict(f"job {self.id} is {self.state} and has no files yet; call wait() first")
        if not self.artifacts:
            self._raise_failure()
        return self._client.save(self.job, folder)

    def _raise_failure(self) -> None:
        if self.state is State.FAILED:
            raise JobFailed(self.job)
        if self.state is State.CANCELLED:
            raise JobCancelled(self.job)

    def _repr_html_(self) -> str:
        """The card that notebooks show. A service that does not answer leaves it without news and images."""
        with suppress(ArchetypeError):
            if not self.state.terminal:
                self.refresh()
            for artifact in choose_images(self.job):
                if artifact.name not in self._images:
                    self._images[artifact.name] = self._client.fetch(artifact)
        return render_card(self.job, self._images)
