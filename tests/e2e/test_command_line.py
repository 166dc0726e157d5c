"""The command line as its user has it."""

import subprocess
import sys
import zipfile
from pathlib import Path

from deploy.local import Stack
from shared.methods import MENU

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"


def archetype(stack: Stack, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("archetype")), "--url", stack.url, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_class_model_is_submitted_watched_and_saved(stack: Stack, tmp_path: Path) -> None:
    arguments = ["--model", "shapes", "--targets", "lemon, 7", "--wait", "--out", "here", "-p", "steps=6"]
    done = archetype(stack, "submit", "class-model", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12/12" in done.stderr  # of each target, six
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {
        "0000-lemon.png", "0007-bee.png", "contact-sheet.png", "metrics.json"
    }  # fmt: skip


def test_saliency_is_submitted_and_found_again(stack: Stack, tmp_path: Path) -> None:
    pictures = [str(path) for path in sorted(PICTURES.glob("*.png"))[:2]]
    submitted = archetype(stack, "submit", "saliency", "--model", "shapes", *pictures)
    job_id = submitted.stdout.strip()
    waited = archetype(stack, "jobs", "wait", job_id, folder=tmp_path)
    assert waited.returncode == 0, waited.stderr
    assert (tmp_path / f"archetype-{job_id}" / "contact-sheet.png").exists()
    assert job_id in archetype(stack, "jobs", "show", job_id).stdout
    assert job_id in archetype(stack, "jobs", "list").stdout


def test_objects_are_found_in_an_archive(stack: Stack, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in sorted(PICTURES.glob("*.png"))[:2]:
            archive.write(path, path.name)
    arguments = ["--model", "shapes", "--top", "1", "--wait", "--out", "here", "pictures.zip"]
    done = archetype(stack, "submit", "localization", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stderr
    assert len(list((tmp_path / "here").glob("*-box.png"))) == 2
    mixed = archetype(stack, "submit", "saliency", "--model", "shapes", "pictures.zip", "pictures.zip", folder=tmp_path)
    assert mixed.returncode != 0
    assert "one archive alone" in mixed.stderr


def test_the_menu_and_the_catalogue_are_shown(stack: Stack) -> None:
    assert "learning_rate" in archetype(stack, "methods").stdout
    assert "shapes" in archetype(stack, "models", "list").stdout
    assert "sailing boat" in archetype(stack, "models", "show", "shapes").stdout


def test_pictures_are_uploaded_and_come_back(stack: Stack, tmp_path: Path) -> None:
    bee = PICTURES / "bee.png"
    image_id, _, name = archetype(stack, "pictures", "upload", str(bee)).stdout.strip().partition("  ")
    assert name == str(bee)
    assert archetype(stack, "pictures", "get", image_id, "back.png", folder=tmp_path).returncode == 0
    assert (tmp_path / "back.png").read_bytes() == bee.read_bytes()


def test_the_status_tells_of_every_part(stack: Stack) -> None:
    done = archetype(stack, "status")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["redis: ok", "object store: ok"]


def test_a_mistake_is_a_sentence_and_not_a_traceback(stack: Stack) -> None:
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


def test_every_method_has_a_command() -> None:
    command = [str(Path(sys.executable).with_name("archetype")), "submit", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for method in MENU:
        assert method.replace("_", "-") in shown


def test_no_service_is_said(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("archetype")), "--url", "http://127.0.0.1:1", "models", "list"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert failed.returncode == 1
    assert "is the service running" in " ".join(failed.stderr.split())
