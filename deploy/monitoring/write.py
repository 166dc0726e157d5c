"""Writes rules.yml and dashboard.json from what the service measures: `python -m deploy.monitoring.write`."""

from pathlib import Path

import yaml

from deploy.monitoring.alerts import make_rules
from deploy.monitoring.dashboard import make_dashboard

FOLDER = Path(__file__).parent


def make_files() -> dict[str, str]:
    """What is in each of them."""
    head = "# Made by `make monitoring` from deploy/monitoring/alerts.py.\n"
    return {
        "rules.yml": head + yaml.safe_dump(make_rules(), sort_keys=False, width=120),
        "dashboard.json": make_dashboard(),
    }


def main() -> None:
    for name, text in make_files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
