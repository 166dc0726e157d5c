"""What is found during one attack: expectations that do not hold, notes, and the jobs that were accepted."""

import threading
from dataclasses import dataclass, field

from archetype.contract.request import AnyRequest


@dataclass
class Findings:
    """What is found during one attack.

    Attributes:
        unmet: The expectations that do not hold.
        notes: Figures that explain the row.
        accepted: The request of each accepted job, by the key of its tenant and the id of the job.
    """

    unmet: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    accepted: dict[str, dict[str, AnyRequest]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, holds: object, sentence: str) -> None:
        """Records an expectation that does not hold."""
        if not holds:
            self.unmet.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def accept(self, key: str, job_id: str, request: AnyRequest) -> None:
        """Records a job that was accepted (202)."""
        with self._lock:
            self.accepted.setdefault(key, {})[job_id] = request
