"""What is committed under experiments/ is what its own predictions render to."""

import shutil
from pathlib import Path

import pytest

from mer import table

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STORED = sorted(EXPERIMENTS.glob("*/table*.md"))


def test_there_is_a_stored_table() -> None:
    assert STORED


@pytest.mark.parametrize("markdown", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_table_renders_again_without_data(markdown: Path, tmp_path: Path) -> None:
    experiment = tmp_path / markdown.parent.name
    shutil.copytree(markdown.parent, experiment)
    (experiment / markdown.name).unlink()
    table.main([str(experiment / f"{markdown.stem}.yaml"), f"runs_dir={tmp_path / 'no-runs'}"])
    assert (experiment / markdown.name).read_text() == markdown.read_text()
