"""The command line against a running service, as its users run it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from archetype.contract.request import METHODS
from deploy.local import Stack
from tests.support.paths import PICTURES


def archetype(stack: Stack, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "archetype", "--url", stack.url, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_class_model_is_submitted_waited_for_and_saved(stack: Stack, tmp_path: Path) -> None:
    arguments = ["--model", "shapes", "--targets", "lemon, 7", "--wait", "--out", "here", "-p", "steps=6"]
    done = archetype(stack, "submit", "class-model", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12/12 steps" in done.stderr  # six for each target
    saved = {path.name for path in (tmp_path / "here").iterdir()}
    assert saved >= {"0000-lemon.png", "0007-bee.png", "contact-sheet.png", "metrics.json"}


def test_saliency_maps_are_submitted_waited_for_and_listed(stack: Stack, tmp_path: Path) -> None:
    pictures = [str(path) for path in sorted(PICTURES.glob("*.png"))[:2]]
    submitted = archetype(stack, "submit", "saliency", "--model", "shapes", *pictures)
    job_id = submitted.stdout.strip()
    waited = archetype(stack, "jobs", "wait", job_id, folder=tmp_path)
    assert waited.returncode == 0, waited.stderr
    assert (tmp_path / f"archetype-{job_id}" / "contact-sheet.png").exists()
    assert job_id in archetype(stack, "jobs", "show", job_id).stdout
    assert job_id in archetype(stack, "jobs", "list").stdout
    listed = json.loads(archetype(stack, "jobs", "list", "--method", "saliency", "--json").stdout)
    assert job_id in [job["id"] for job in listed]


def test_objects_are_localized_in_the_images_of_an_archive(stack: Stack, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in sorted(PICTURES.glob("*.png"))[:2]:
            archive.write(path, path.name)
    arguments = ["--model", "shapes", "--top", "1", "--wait", "--out", "here", "pictures.zip"]
    done = archetype(stack, "submit", "localization", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2/2 " in done.stderr
    assert len(list((tmp_path / "here").glob("*-box.png"))) == 2
    mixed = archetype(stack, "submit", "saliency", "--model", "shapes", "pictures.zip", "pictures.zip", folder=tmp_path)
    assert mixed.returncode != 0
    assert "one archive alone" in mixed.stderr


def test_methods_and_models_are_shown(stack: Stack) -> None:
    assert "learning_rate" in archetype(stack, "methods").stdout
    assert "shapes" in archetype(stack, "models", "list").stdout
    assert "sailing boat" in archetype(stack, "models", "show", "shapes").stdout


def test_images_are_uploaded_and_downloaded(stack: Stack, tmp_path: Path) -> None:
    bee = PICTURES / "bee.png"
    image_id, _, name = archetype(stack, "images", "upload", str(bee)).stdout.strip().partition("  ")
    assert name == str(bee)
    assert archetype(stack, "images", "get", image_id, "back.png", folder=tmp_path).returncode == 0
    assert (tmp_path / "back.png").read_bytes() == bee.read_bytes()


def test_the_status_of_every_part_is_shown(stack: Stack) -> None:
    done = archetype(stack, "status")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["redis: ok", "object store: ok"]
    assert json.loads(archetype(stack, "status", "--json").stdout) == {"redis": "ok", "object store": "ok"}


def test_a_mistake_is_explained_in_a_sentence_without_a_traceback(stack: Stack) -> None:
    mistakes = {
        ("submit", "class-model", "--model", "shapes", "--targets", "lemn"): "lemon",
        ("submit", "class-model", "--model", "shape", "--targets", "1"): "shapes",
        ("submit", "class-model", "--model", "shapes", "--targets", "1", "-p", "steps=0"): "/params/steps",
        ("submit", "filters", "--model", "shapes", "--wait", "--out", __file__): "cannot be read or written",
        ("submit", "fool", "--model", "shapes", str(PICTURES / "bee.png")): "/targets",
        ("jobs", "show", "nope"): "nope",
    }
    for arguments, hint in mistakes.items():
        failed = archetype(stack, *arguments)
        assert failed.returncode == 1
        assert hint in " ".join(failed.stderr.split())
        assert "Traceback" not in failed.stderr
        assert failed.stdout == ""


def test_every_method_has_a_command() -> None:
    command = [sys.executable, "-m", "archetype", "submit", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for method in METHODS:
        assert method.replace("_", "-") in shown


def test_an_error_is_a_problem_document_in_json(stack: Stack) -> None:
    failed = archetype(stack, "submit", "class-model", "--model", "shapes", "--targets", "lemn", "--json")
    problem = json.loads(failed.stdout)
    assert (failed.returncode, problem["status"], problem["type"]) == (1, 422, "/problems/unknown-target")
    assert problem["detail"] in failed.stderr


def test_a_service_that_does_not_answer_is_named() -> None:
    command = [sys.executable, "-m", "archetype", "--url", "http://127.0.0.1:1", "models", "list"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert failed.returncode == 1
    assert "no answer from http://127.0.0.1:1 " in failed.stderr
    assert "is the service running" in failed.stderr
