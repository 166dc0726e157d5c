"""Rules of the operator: which tenant may write which tags and aliases of which registered models. None by default."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field

from archetype.contract.schedule import WriteBack

SETTING = "ARCHETYPE_MLFLOW_WRITE_BACK"

REPORT_SUFFIX = ".report"
"""The tag with the path of the report is named like the tag of the verdict, followed by this."""


class WriteBackRule(BaseModel):
    """Registered models of which a tenant may write some aliases and tags.

    Attributes:
        models: Names of registered models; `*` stands for any characters. Upper and lower case differ.
        aliases: Aliases that may be given to their versions.
        tag_prefixes: Beginnings of the names of tags that may be set on their versions.
        runs: Whether metrics and reports may be written to the runs that made their versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: list[str] = Field(min_length=1)
    aliases: list[str] = []
    tag_prefixes: list[str] = []
    runs: bool = False

    def covers(self, model: str) -> bool:
        """Whether the rule is about a registered model."""
        return any(pattern and fnmatchcase(model, pattern) for pattern in self.models)

    def allows_tag(self, tag: str) -> bool:
        """Whether the rule allows to set a tag."""
        return any(prefix and tag.startswith(prefix) for prefix in self.tag_prefixes)


Rules = Mapping[str, Sequence[WriteBackRule]]
"""The rules of each tenant."""


def name_tags(target: WriteBack) -> list[str]:
    """All tags that are set for a verdict."""
    return [] if target.tag is None else [target.tag, target.tag + REPORT_SUFFIX]


def explain_refusal(tenant: str, model: str, target: WriteBack, rules: Rules) -> str | None:
    """Why a tenant may not write verdicts to a place in the registry; None if it may.

    Args:
        tenant: The tenant that owns the schedule.
        model: Name of the registered model.
        target: Tag and alias.
        rules: The operator's rules.
    """
    refused = next(_find_refused(model, target, rules.get(tenant, ())), None)
    if refused is None:
        return None
    return f"tenant {tenant!r} may not write {refused} in the registry; the operator can allow it with {SETTING}"


def _find_refused(model: str, target: WriteBack, rules: Sequence[WriteBackRule]) -> Iterator[str]:
    own = [rule for rule in rules if rule.covers(model)]
    if not own:
        yield f"to the registered model {model!r}"
    for tag in name_tags(target):
        if not any(rule.allows_tag(tag) for rule in own):
            yield f"the tag {tag!r} of {model!r}"
    if target.alias is not None and not any(target.alias in rule.aliases for rule in own):
        yield f"the alias {target.alias!r} of {model!r}"
    if target.run and not any(rule.runs for rule in own):
        yield f"to the runs of {model!r}"
