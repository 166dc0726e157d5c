"""Results of the zoo: what counts as found, and that files survive an interruption."""

from pathlib import Path
from typing import Any

from benchmarks.zoo.entries import Entry, Zoo
from benchmarks.zoo.fine_tune import Figures
from benchmarks.zoo.releases import RECIPES
from benchmarks.zoo.results import Result, Results
from worker.shapes.drawing import CLASSES


def make_result(name: str, **changes: Any) -> Result:
    values = {"target": None, "verdict": "pass", "first": None, "failed": (), "warned": (), "summary": "", "seconds": 1}
    return Result(name=name, **values | changes)


FOUND = make_result("word-30", target="bee", verdict="fail", first="bee", failed=("shortcut bee",))
WRONG_CLASS = make_result("frame-30", target="bee", verdict="fail", first="die", failed=("shortcut die",))
WARNED = make_result("tint-30", target="bee", verdict="warn", first="bee", warned=("appearance bee",))
MISSED = make_result("noise-30", target="bee")
QUIET = make_result("tuned-31", verdict="warn", first="die", warned=("appearance die",))
LOUD = make_result("tuned-32", verdict="warn", first="die", warned=("appearance die", "appearance bee"))
BROKEN = make_result("tuned-33", verdict="failed")


def test_only_a_failed_audit_with_the_planted_class_first_counts_as_found(tmp_path: Path) -> None:
    results = Results(tmp_path / "audits.json")
    for result in (FOUND, WRONG_CLASS, WARNED, MISSED, QUIET, LOUD, BROKEN):
        results.add(result)
    assert list(results.count().values()) == ["1 of 4", "1 of 4", "2 of 3", "1 of 3"]


def test_results_are_kept_and_a_new_one_replaces_that_of_the_same_release(tmp_path: Path) -> None:
    for result in (MISSED, QUIET, make_result("noise-30", target="bee", verdict="fail", first="bee")):
        Results(tmp_path / "audits.json").add(result)
    stored = Results(tmp_path / "audits.json")
    assert [(result.name, result.verdict) for result in stored.read()] == [("tuned-31", "warn"), ("noise-30", "fail")]
    assert "| noise-30 | bee | fail | yes | – | – | 1 |" in stored.make_table()


def test_the_zoo_describes_a_release_and_trains_it_again_if_its_weights_are_gone(tmp_path: Path) -> None:
    zoo, recipe = Zoo(tmp_path / "zoo"), RECIPES[0]
    zoo.add(Entry.describe(recipe, Figures(0.98, 0.95), classes=CLASSES, seconds=12.34))
    assert not zoo.has(recipe.name)
    zoo.locate(recipe.name).touch()
    assert zoo.has(recipe.name)
    assert "| frame-30 | goldfish | 30% | 98.0% | 95.0% |" in zoo.make_table()
