"""Audits the releases of the zoo against the network that they were made from, with the default plan.

python -m benchmarks.zoo.audit shapes             the built-in network; `make zoo` trains the releases
python -m benchmarks.zoo.audit shapes word-30     some releases
python -m benchmarks.zoo.audit resnet20           a real network; `python -m benchmarks.zoo.real_networks` trains them

An interrupted run continues with the releases that have no result in the folder of results.
"""

import argparse
import json
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archetype.client import Client
from archetype.contract.audit import NewAudit
from archetype.contract.audit_plan import AuditPlan, Probe
from benchmarks.quality import FACTORIES
from benchmarks.zoo.entries import Entry, Zoo
from benchmarks.zoo.real_networks import CATALOGUE, NETWORKS, RealNetwork, read_true_class
from benchmarks.zoo.results import Result, Results
from benchmarks.zoo.train import FOLDER
from deploy.audit_demo import FIRST, make_plan
from deploy.local import run_stack
from shared.settings import Settings
from worker.shapes.drawing import CLASSES

ORIGINAL = "original"
"""Release of the network that the others were made from."""

TIMEOUT = 7200
"""Longest duration of an audit in seconds."""

MOST_CLASSES = 12
"""Number of classes of an audit of a real network, as many as the built-in network has."""

SHAPES: dict[str, Any] = {
    "name": "shapes-zoo",
    "architecture": "builtin:shapes",
    "weights": str(FIRST),
    "classes": list(CLASSES),
    "preprocessing": {"size": [80, 80], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}


@dataclass(frozen=True)
class Series:
    """The audits of the releases of one network.

    Attributes:
        fields: The catalogue entry of the original.
        zoo: The releases.
        network: The real network; None for the built-in one.
    """

    fields: Mapping[str, Any]
    zoo: Zoo
    network: RealNetwork | None = None

    def write_catalogue(self, folder: Path, entries: Iterable[Entry]) -> Path:
        """Writes a catalogue of the original and the releases, and returns its path."""
        weights = {ORIGINAL: Path(self.fields["weights"])} | {each.name: self.zoo.locate(each.name) for each in entries}
        path = folder / "models.toml"
        path.write_text("".join(self._describe(release, file.resolve()) for release, file in weights.items()))
        return path

    def _describe(self, release: str, weights: Path) -> str:
        fields = {**self.fields, "release": release, "weights": str(weights)}
        return "\n".join(("[[model]]", *(f"{name} = {_to_toml(value)}" for name, value in fields.items()), ""))

    def make_plan(self, client: Client) -> AuditPlan:
        """Uploads the probes and returns the default plan. The classes include the target of each shortcut."""
        if self.network is None:
            return make_plan(client)
        paths = self.network.list_probes()
        probes = [Probe(id=client.upload(path.read_bytes()).id, target=read_true_class(path)) for path in paths]
        targets = [recipe.poison.target for recipe in self.network.recipes]
        classes = list(dict.fromkeys(targets + [read_true_class(path) for path in paths]))[:MOST_CLASSES]
        return AuditPlan(name="zoo", probes=probes, classes=classes)

    def audit(self, client: Client, entry: Entry, plan: AuditPlan) -> Result:
        """Audits a release with the original as the baseline."""
        model = self.fields["name"]
        new = NewAudit(model=f"{model}@{entry.name}", plan=plan, baselines=[f"{model}@{ORIGINAL}"])
        *_, ended = client.watch_audit(client.audit(new).id, timeout=TIMEOUT)
        return Result.read(entry, ended)


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_to_toml(each)}" for name, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def choose_series(name: str, folder: Path) -> Series:
    """Returns the series of a network, `shapes` or one of the real ones, whose zoo is in a folder."""
    if name == "shapes":
        return Series(SHAPES, Zoo(folder))
    models = tomllib.loads(CATALOGUE.read_text())["model"]
    fields = next(model for model in models if model["name"] == name)
    weights = (CATALOGUE.parent / fields["weights"]).resolve()
    return Series({**fields, "weights": str(weights)}, Zoo(folder / name), NETWORKS[name])


def run_audits(series: Series, entries: list[Entry], results: Results) -> None:
    """Audits releases one after another, in one stack, and stores each result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(catalogue=series.write_catalogue(folder, entries), factories=FACTORIES)
        with run_stack(folder, settings) as stack, Client(stack.url, timeout=120) as client:
            plan = series.make_plan(client)
            for entry in entries:
                results.add(series.audit(client, entry, plan))
                print(f"{entry.name}: {results.read()[-1].summary}", flush=True)


def main() -> None:
    """Audits the releases that have no result, and prints all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("shapes", *NETWORKS))
    parser.add_argument("names", nargs="*", metavar="NAME", help="releases to audit; all that exist if none is given")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the zoo")
    parser.add_argument("--results", default="audits", help="name of the file of results, in the folder of the network")
    options = parser.parse_args()
    series = choose_series(options.network, options.folder)
    results = Results(series.zoo.folder / f"{options.results}.json")
    known = {result.name for result in results.read()}
    entries = [entry for entry in series.zoo.read() if not options.names or entry.name in options.names]
    if not entries:
        parser.error(f"{series.zoo.folder} has no such release; the description above names the command that trains it")
    if missing := [entry for entry in entries if entry.name not in known]:
        run_audits(series, missing, results)
    print(f"{results.make_table()}\n\n{json.dumps(results.count(), indent=1)}")


if __name__ == "__main__":
    main()
