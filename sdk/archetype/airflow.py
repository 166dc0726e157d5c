"""Operator of Apache Airflow 3 that audits a release, and fails the task if the release must not be used.

It needs the package `apache-airflow-task-sdk`, which every Airflow 3 has and the client does not install.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Connection
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from archetype.cli.audit_plan_file import load_plan
from archetype.client import Client
from archetype.contract.audit import AuditView, NewAudit, Verdict

CONNECTION = "archetype_default"


class AuditOperator(BaseOperator):
    """Audits a release and saves its report.

    If the task runs again, it goes on with the same audit: the service returns the audit of these releases under this
    plan. A release that fails its audit fails the task at once, without a further try.

    Args:
        model: Release to audit: `name@release`, or `name` for its newest release. A template.
        plan: File of the audit plan, in TOML, or the `report.json` of an audit. A template.
        baselines: Releases to compare with, instead of those of the plan. A template.
        out: Folder for the report; None to save none. A template.
        fails_on: Verdicts that fail the task.
        timeout: Seconds to wait for the verdict.
        conn_id: Connection of Airflow: its host is the URL of the service, its password an API key with the scopes
            `submit` and `read`.
        more: Arguments of every operator of Airflow, as `task_id`.

    The task's value is a dict with `audit`, `model`, `verdict` and `findings`, the number of findings.
    """

    template_fields: Sequence[str] = ("model", "plan", "baselines", "out")

    def __init__(
        self,
        *,
        model: str,
        plan: str,
        baselines: Sequence[str] = (),
        out: str | None = None,
        fails_on: Collection[Verdict] = ("fail", "error", "not_comparable"),
        timeout: float = 3600,
        conn_id: str = CONNECTION,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.model = model
        self.plan = plan
        self.baselines = list(baselines)
        self.out = out
        self.fails_on = set(fails_on)
        self.timeout = timeout
        self.conn_id = conn_id
        self._audit_id: str | None = None

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002
        """Runs the audit. Airflow calls it.

        Raises:
            AirflowFailException: The verdict is one of `fails_on`.
            AirflowException: The audit ended without a verdict, or there is no such connection.
            ArchetypeError: The service refused the audit or did not answer in time.
        """
        with self._connect() as client:
            new = NewAudit(model=self.model, plan=load_plan(Path(self.plan), client), baselines=self.baselines or None)
            audit = client.audit(new)
            self._audit_id = audit.id
            self.log.info("audit %s of %s", audit.id, audit.model)
            *_, audit = client.watch_audit(audit.id, timeout=self.timeout)
            if self.out is not None:
                client.save_artifacts(audit.artifacts, Path(self.out))
        return self._judge(audit)

    def on_kill(self) -> None:
        """Cancels the audit with all of its jobs. Airflow calls it if the task is stopped."""
        if self._audit_id is not None:
            with self._connect() as client:
                client.cancel_audit(self._audit_id)

    def _judge(self, audit: AuditView) -> dict[str, Any]:
        if audit.verdict is None:
            raise AirflowException(f"audit {audit.id} has no verdict: {audit.error or audit.state}")
        if audit.verdict in self.fails_on:
            reasons = "; ".join(
                f"{each.gate}, {each.target or 'all classes'}: {each.reason}" for each in audit.findings
            )
            raise AirflowFailException(
                f"{audit.verdict}: {audit.model}, audit {audit.id}. {reasons or audit.error or ''}"
            )
        return {
            "audit": audit.id,
            "model": audit.model,
            "verdict": audit.verdict,
            "findings": len(audit.findings),
        }

    def _connect(self) -> Client:
        connection = Connection.get(self.conn_id)
        if not connection.host or "://" not in connection.host:
            raise AirflowException(
                f"the host of the connection {self.conn_id} must be the URL of the service, "
                f"for example https://archetype.example; it is {connection.host!r}"
            )
        return Client(connection.host, key=connection.password)
