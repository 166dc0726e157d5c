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
    audit: str | None = Field(
        default=None,
        description="Id of the audit that speaks against it, otherwise of its newest; null if there is none.",
    )
    verdict: str | None = Field(default=None, description="Verdict of this audit.")
    compared_with_unsound: bool = Field(
        default=False, description="Whether this audit compared the release with one that something speaks against."
    )
    decision: Literal["approve", "reject", "waive"] | None = Field(
        default=None, description="Newest valid decision about its audits; null if there is none."
    )
    name: str | None = Field(default=None, description="Name of the person who decided.")
    decided_at: datetime | None = Field(default=None, description="Time of the decision.")

    @property
    def is_known(self) -> bool:
        """Whether there is an audit or a decision."""
        return self.audit is not None or self.decision is not None

    @property
    def is_approved(self) -> bool:
        """Whether a person has approved the release, or waived its findings."""
        return self.decision in ("approve", "waive")

    @property
    def is_sound(self) -> bool:
        """Whether nothing speaks against the release, or a person has accepted what does."""
        is_faultless = self.decision is None and self.verdict != "fail" and not self.compared_with_unsound
        return self.is_approved or is_faultless

    def describe(self) -> str:
        """Return a sentence without a period, which begins with a small letter or the name of the release."""
        if self.decision is not None and self.decided_at is not None:
            return DECIDED[self.decision].format(release=self.release, name=self.name, day=self.decided_at.date())
        if self.verdict == "fail":
            return f"{self.release} failed its audit {self.audit}"
        if self.compared_with_unsound:
            return f"{self.release} was compared in its audit {self.audit} with a release that something speaks against"
        if self.verdict is not None:
            return f"the audit {self.audit} of {self.release} ended with {self.verdict.replace('_', ' ')}"
        return f"{self.release} was not audited"
