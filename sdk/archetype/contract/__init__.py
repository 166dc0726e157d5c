"""The wire contract: every request and response document of the API. Imports pydantic only and does no I/O.

`contract.audit` and `contract.schedule` are imported on first use: most programs that draw pictures need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archetype.contract import audit as audit
    from archetype.contract import schedule as schedule
else:

    def __getattr__(name):
        if name not in ("audit", "schedule"):
            raise AttributeError(f"module 'archetype.contract' has no attribute {name!r}")
        return import_module(f"archetype.contract.{name}")
