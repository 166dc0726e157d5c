"""Runs the commands and the Python examples of README.md and docs/."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Stack
from tests.support.paths import PICTURES, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = ".venv/bin/archetype "
COMMANDS = list(
    dict.fromkeys(
        line.removeprefix(PROGRAM).partition("  #")[0].rstrip()
        for page in PAGES
        for line in page.read_text().splitlines()
        if line.startswith(PROGRAM)
    )
)
UNAVAILABLE = ("squeezenet", "pictures.zip", "fruit", "resnet50", "01k9v0", "01234", "follow", "\\", "--failed")
UNAVAILABLE += ("audit decide", "audit-ID")
"""Commands that need files or networks that are not in the repository, do not end, or continue on the next line."""

SLOW = ("smoothgrad", "deep-dream", "feature-inversion", "fool", "trigger", "lucid", "metrics", "-p 'seeds")
"""Commands that take long; the tests of the methods run them."""

TESTED = [command for command in COMMANDS if not any(word in command for word in UNAVAILABLE + SLOW)]
EXAMPLES = [
    pytest.param(example, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_python_example_of_the_documentation_works_as_it_is_written(
    stack: Stack, tmp_path: Path, example: str
) -> None:
    program = example.replace("http://127.0.0.1:8080", stack.url).replace("deploy/pictures", str(PICTURES))
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=paths,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "save(" not in example or list((tmp_path / "pictures").glob("*.png"))


@pytest.mark.parametrize("command", TESTED)
def test_a_command_of_the_documentation_works_as_it_is_written(stack: Stack, tmp_path: Path, command: str) -> None:
    assert stack.settings.operator_token is not None
    line = command.replace("deploy/pictures", str(PICTURES))
    program = f"{shlex.quote(str(Path(sys.executable).with_name('archetype')))} {line}"
    env = {
        "PATH": "/usr/bin:/bin",
        "ARCHETYPE_URL": stack.url,
        "ARCHETYPE_KEY": stack.settings.operator_token.get_secret_value(),
    }
    result = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_most_commands_of_the_documentation_are_tested() -> None:
    assert len(TESTED) >= 12, TESTED
    assert len(EXAMPLES) >= 4
