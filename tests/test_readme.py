"""The README is run: its snippet as it stands, its commands composed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mer import config
from mer.cli import VERBS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.strip()
]
COMPOSED = [["mer", verb] for verb in ("train", "audit", "encode", "figures")]


def test_the_snippet_trains_one_fold_without_hydra(tmp_path: Path) -> None:
    snippets = [block for language, block in BLOCKS if language == "python"]
    assert len(snippets) == 1
    (tmp_path / "snippet.py").write_text(snippets[0] + "\nimport sys\nassert 'hydra' not in sys.modules\n")
    done = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "test_accuracy" in done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[:2] in COMPOSED], ids=" ".join)
def test_a_command_composes(command: list[str]) -> None:
    overrides = [word for word in command[2:] if "=" in word and not word.startswith("fold=")]
    single = [re.sub(r"=([^,]*),.*", r"=\1", override) for override in overrides]
    config.compose(single)


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for command in COMMANDS:
        if command == [".", ".venv/bin/activate"]:
            continue
        assert command[0] in ("mer", "make")
        assert command[1] in (VERBS if command[0] == "mer" else targets)


def test_mer_is_found_where_it_is_first_called() -> None:
    """`make` installs into .venv, whose commands no shell finds by itself."""
    first = next(number for number, command in enumerate(COMMANDS) if command[0] == "mer")
    assert [".", ".venv/bin/activate"] in COMMANDS[:first]


def test_links_point_at_files() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert "://" in link or (ROOT / link).exists(), link
