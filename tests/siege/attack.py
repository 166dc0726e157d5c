"""What an attack is."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.siege.findings import Findings
from tests.siege.stage import Stage


def nothing() -> None:
    """Prepares nothing."""


@dataclass(frozen=True)
class Attack:
    """An attack on the service, bounded in size and time.

    Attributes:
        point: The kind of attack: deadlines (9), untrusted input (10), fair shares (11) or repetition (12).
        act: Attacks until it returns.
        prepare: Makes what the attack sends, before anything is measured.
        cuts: Whether the attack cuts the service off from a server that reads need.
        adds: The most memory that the attack may add to a part, in bytes, beside the limit of the deployment.
        short: Whether the short form runs it.
    """

    point: int
    name: str
    title: str
    act: Callable[[Stage, Findings], None]
    prepare: Callable[[], object] = nothing
    cuts: bool = False
    adds: int | None = None
    short: bool = False
