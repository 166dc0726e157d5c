"""The command that runs an audit again."""

import shlex

from archetype.contract.request import Audit


def build_rerun_command(audit: Audit) -> str:
    """The command that runs the audit again, with the plan from its own report."""
    baselines = [argument for reference in audit.baselines for argument in ("--baseline", reference)]
    return shlex.join(["archetype", "audit", "run", audit.model, "--plan", "report.json", *baselines, "--again"])
