"""All attacks, in the order of the table."""

from tests.siege.attacks import dependencies, receivers, repeats, shares, slow_clients, untrusted_input

ATTACKS = tuple(
    sorted(
        (
            *slow_clients.ATTACKS,
            *dependencies.ATTACKS,
            *untrusted_input.ATTACKS,
            *shares.ATTACKS,
            *receivers.ATTACKS,
            *repeats.ATTACKS,
        ),
        key=lambda attack: attack.point,
    )
)
