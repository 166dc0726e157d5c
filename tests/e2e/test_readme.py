"""What the README tells people to type, typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Stack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix(".venv/bin/archetype ").partition("  #")[0].rstrip()
    for line in README.splitlines()
    if line.startswith(".venv/bin/archetype ")
]
ELSEWHERE = (
    "squeezenet",
    "pictures.zip",
    "fruit",
    "resnet50",
    "01k9v0",
    "01234",
    "follow",
    "\\",
    "-p seeds",
    "--failed",
)
"""Of what needs files or networks that are not here, has no end, or goes on in the next line."""

LONG = ("smoothgrad", "deep-dream", "feature-inversion", "fool", "lucid", "measures")
"""Of what takes its time; the methods' own tests run them."""

SHORT = [one for one in COMMANDS if not any(word in one for word in ELSEWHERE + LONG)]


def test_the_python_examples_work(stack: Stack, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    for example in examples:
        program = example.replace("http://127.0.0.1:8080", stack.url).replace(
            "deploy/pictures", str(ROOT / "deploy" / "pictures")
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert list((tmp_path / "pictures").glob("*.png"))


@pytest.mark.parametrize("command", SHORT)
def test_a_command_works_as_it_is_written(stack: Stack, tmp_path: Path, command: str) -> None:
    assert stack.settings.operator_token is not None
    line = command.replace("deploy/pictures", str(ROOT / "deploy" / "pictures"))
    program = f"{shlex.quote(str(Path(sys.executable).with_name('archetype')))} {line}"
    env = {
        "PATH": "/usr/bin:/bin",
        "ARCHETYPE_URL": stack.url,
        "ARCHETYPE_KEY": stack.settings.operator_token.get_secret_value(),
    }
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_enough_of_them_are_tried() -> None:
    assert len(SHORT) >= 12, SHORT
