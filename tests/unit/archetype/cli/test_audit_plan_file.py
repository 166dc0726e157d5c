"""Audit plans in files: which probes are uploaded, and what is wrong with a file."""

import json
from pathlib import Path

import httpx2
import pytest

from archetype.cli import audit_plan_file
from archetype.cli.audit_plan_file import InvalidPlan, load_plan
from archetype.contract.upload import SUFFIXES, Image
from archetype.errors import TimedOut
from tests.support.mock_service import MockService, answer_json

PLAN = 'name = "nightly"\nclasses = ["lemon"]\n[probes]\nfolder = "probes"\n'
IGNORED = ("lemon/.hidden.png", "lemon/notes.txt", "lemon/Thumbs.db", "__MACOSX/._1.png", "__MACOSX/1.png", "1.png")


@pytest.fixture
def service() -> MockService:
    service = MockService()
    image = Image(id="a" * 64, format="PNG", width=9, height=9, bytes=9)
    service.answer("POST", "/v1/images", lambda _: answer_json(image, 201))
    return service


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def write_probes(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "probes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")


@pytest.mark.parametrize("suffix", [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)])
def test_every_suffix_that_the_service_accepts_is_a_probe(service: MockService, plan: Path, suffix: str) -> None:
    write_probes(plan.parent, f"lemon/1{suffix}")
    assert [probe.target for probe in load_plan(plan, service.client()).probes] == ["lemon"]
    assert f'filename="1{suffix}"'.encode() in service.requests[0].content


def test_hidden_files_and_files_that_are_no_images_are_ignored(service: MockService, plan: Path) -> None:
    write_probes(plan.parent, "lemon/1.tif", "bee/2.png", *IGNORED)
    assert [probe.name for probe in load_plan(plan, service.client()).probes] == ["bee/2.png", "lemon/1.tif"]


def test_a_plan_in_a_folder_with_an_ignored_name_has_its_probes(service: MockService, tmp_path: Path) -> None:
    write_probes(tmp_path / "__MACOSX", "lemon/1.png")
    (tmp_path / "__MACOSX" / "plan.toml").write_text(PLAN)
    assert len(load_plan(tmp_path / "__MACOSX" / "plan.toml", service.client()).probes) == 1


def test_boxes_are_read_for_their_probe(service: MockService, plan: Path) -> None:
    write_probes(plan.parent, "lemon/1.png", "lemon/2.png")
    (plan.parent / "probes" / "boxes.json").write_text(json.dumps({"lemon/2.png": [[1, 2, 3, 4]]}))
    first, second = load_plan(plan, service.client()).probes
    assert first.boxes == []
    assert [(box.left, box.top, box.right, box.bottom) for box in second.boxes] == [(1, 2, 3, 4)]


def test_attributes_are_read_for_their_probe(service: MockService, plan: Path) -> None:
    write_probes(plan.parent, "lemon/1.png", "lemon/2.png")
    table = "file,lighting,camera\nlemon/1.png,night,a\nlemon/2.png,,b\n"
    (plan.parent / "probes" / "attributes.csv").write_text(table, "utf-8-sig")
    first, second = load_plan(plan, service.client()).probes
    assert first.attributes == {"lighting": "night", "camera": "a"}
    assert second.attributes == {"camera": "b"}


@pytest.mark.parametrize("table", ["name,lighting\nlemon/1.png,night\n", "file\nlemon/1.png,night\n"])
def test_a_wrong_table_of_attributes_is_explained(service: MockService, plan: Path, table: str) -> None:
    write_probes(plan.parent, "lemon/1.png")
    (plan.parent / "probes" / "attributes.csv").write_text(table)
    with pytest.raises(InvalidPlan, match="needs a header with the column 'file'"):
        load_plan(plan, service.client())


def test_probes_can_be_in_the_format_of_another_tool(service: MockService, plan: Path) -> None:
    write_probes(plan.parent, "images/1.png")
    labels = plan.parent / "probes" / "labels" / "1.txt"
    labels.parent.mkdir()
    labels.write_text("0 0.5 0.5 1 0.5\n")
    (plan.parent / "probes" / "classes.txt").write_text("lemon\n")
    plan.write_text(PLAN + 'format = "yolo"\n')
    (probe,) = load_plan(plan, service.client()).probes
    (box,) = probe.boxes
    assert (probe.target, box.left, box.top, box.right, box.bottom) == ("lemon", 0, 2.25, 9, 6.75)  # of 9 x 9 pixels


@pytest.mark.parametrize(
    ("more", "reason"),
    [('format = "magic"', "there is no format 'magic'; it is one of folder, coco"), ("colour = 1", "not colour")],
)
def test_an_unknown_format_or_field_is_explained(service: MockService, plan: Path, more: str, reason: str) -> None:
    plan.write_text(PLAN + more)
    with pytest.raises(InvalidPlan, match=reason):
        load_plan(plan, service.client())


def test_too_many_probes_are_refused_before_any_is_uploaded(
    service: MockService, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_plan_file, "MAX_PROBES", 1)
    write_probes(plan.parent, "lemon/1.png", "lemon/2.png")
    with pytest.raises(InvalidPlan, match="2 images, and a plan has at most 1"):
        load_plan(plan, service.client())
    assert service.requests == []


def test_the_report_of_an_audit_is_a_plan(service: MockService, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"verdict": "pass", "plan": {"name": "nightly", "classes": ["lemon"]}}))
    assert load_plan(path, service.client()).name == "nightly"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PLAN, "neither a folder nor a ZIP archive"),
        ("[", "cannot be read"),
        ("name = 1", "/name"),
        ('name = "x"\ngates = { focuss = { tolerance = 1 } }', "/gates/focuss: there is no such parameter"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_plan_is_explained(service: MockService, plan: Path, text: str | None, reason: str) -> None:
    plan.unlink() if text is None else plan.write_text(text)
    with pytest.raises(InvalidPlan, match=reason) as wrong:
        load_plan(plan, service.client())
    assert bool(wrong.value.errors) == reason.startswith("/")


def test_an_upload_that_takes_too_long_is_not_a_wrong_plan(service: MockService, plan: Path) -> None:
    write_probes(plan.parent, "lemon/1.png")
    service.answer("POST", "/v1/images", httpx2.ReadTimeout(""))
    with pytest.raises(TimedOut):
        load_plan(plan, service.client())
