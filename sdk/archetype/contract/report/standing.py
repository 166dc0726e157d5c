"""What audits and people have said about a release with which another one is compared."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from archetype.contract.job import Document

DECIDED = {
    "approve": "{release} was approved by {name} on {day}",
    "reject": "{release} was rejected by {name} on {day}",
    "waive": "the findings of {release} were waived by {name} on {day}",
}
"""Sentences for the decisions of people."""


class Standing(Document):
    """What audits and people had said about a release when an audit was accepted."""

    release: str = Field(description="The release.")
    audit: str | None = Field(default=None, description="Id of its newest audit that has a verdict; null if none has.")
    verdict: str | None = Field(default=None, description="Verdict of this audit.")
    decision: Literal["approve", "reject", "waive"] | None = Field(
        default=None, description="Newest valid decision about its audits; null if there is none."
    )
    name: str | None = Field(default=None, description="Name of the person who decided.")
    decided_at: datetime | None = Field(default=None, description="Time of the decision.")

    @property
    def is_approved(self) -> bool:
        """Whether a person has approved the release, or waived its findings."""
        return self.decision in ("approve", "waive")

    @property
    def is_sound(self) -> bool:
        """Whether nothing speaks against the release: no rejection, and no failed audit that no person has accepted."""
        return self.decision != "reject" and (self.is_approved or self.verdict != "fail")

    def describe(self) -> str:
        """Return a sentence without a period, which begins with a small letter or the name of the release."""
        if self.decision is not None and self.decided_at is not None:
            return DECIDED[self.decision].format(release=self.release, name=self.name, day=self.decided_at.date())
        if self.verdict == "fail":
            return f"{self.release} failed its audit {self.audit}"
        if self.verdict is not None:
            return f"the audit {self.audit} of {self.release} ended with {self.verdict.replace('_', ' ')}"
        return f"{self.release} was not audited"
