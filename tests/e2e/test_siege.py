"""The short form of the siege: what an unconcerned client sees during one attack of each kind, with generous limits."""

from collections.abc import Iterator

import pytest

from tests.siege.attack import Attack
from tests.siege.attacks.registry import ATTACKS
from tests.siege.play import play
from tests.siege.stage import Stage, open_stage

SECONDS, PATIENCE = 5, 3
"""An attack lasts longer than a call may take: a call that waits for the end of the attack is too late."""

SHORT = [attack for attack in ATTACKS if attack.short]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("siege"), seconds=SECONDS, patience=PATIENCE, short=True) as opened:
        yield opened


def test_the_short_form_has_an_attack_of_each_kind() -> None:
    assert {attack.point for attack in SHORT} == {9, 10, 11, 12}


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_an_attack_of_one_tenant_neither_stops_the_service_nor_loses_a_job(stage: Stage, attack: Attack) -> None:
    row = play(attack, stage)
    assert (row.lost, row.doubled, row.unmet) == (0, 0, []), row
    assert row.accepted
