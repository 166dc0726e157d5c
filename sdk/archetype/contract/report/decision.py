"""Decisions of people about an audited release."""

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from archetype.contract.audit_plan import Text
from archetype.contract.job import Document

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class NewDecision(Document):
    """Body of `POST /v1/audits/{id}/decision`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["approve", "reject", "waive"] = Field(
        description="`approve` the release, `reject` it, or `waive` the findings until the expiry date."
    )
    name: Text = Field(description="Name of the person who decides.", examples=["Ann Example"])
    reason: Text = Field(description="Reason of the decision.")
    expires: date | None = Field(
        default=None, description="Last day on which the decision is valid (UTC); required for `waive`."
    )
    report_sha256: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the `report.json` that the person has read. If it is not that of the audit's "
        "report, the decision is refused. If null, it is not checked.",
    )

    @model_validator(mode="after")
    def _check_expiry(self) -> Self:
        if self.decision == "waive" and self.expires is None:
            raise ValueError("a decision 'waive' needs an expiry date; give `expires`")
        return self


class Decision(Document):
    """A decision as it is stored. It is never changed; a later decision takes precedence."""

    id: str = Field(description="Id of the decision.")
    decision: Literal["approve", "reject", "waive"] = Field(description="The decision.")
    name: str = Field(description="Name of the person who decided.")
    reason: str = Field(description="Reason of the decision.")
    expires: date | None = Field(default=None, description="Last day on which the decision is valid (UTC).")
    report_sha256: str = Field(description="SHA-256 digest of the `report.json` that the decision is about.")
    by: str = Field(
        description="Id of the API key with which the decision was made, `operator`, or `oidc:` and the subject of a "
        "token; `local` if there was none."
    )
    at: datetime = Field(description="Time of the decision.")


def find_valid_decision(decisions: list[Decision], today: date) -> Decision | None:
    """The newest decision that has not expired; None if there is none. `decisions` are sorted, oldest first."""
    return next((each for each in reversed(decisions) if each.expires is None or each.expires >= today), None)
