"""What is committed under experiments/ is what its own predictions render to."""

import shutil
from pathlib import Path

import pytest

from mer import table

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STORED = sorted(
    path
    for path in EXPERIMENTS.glob("*/*.md")
    if path.with_suffix(".yaml").exists() and path.stem != "print_check"  # `mer check-print` makes those
)


def test_there_is_a_stored_table() -> None:
    assert STORED


@pytest.mark.parametrize("markdown", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_table_renders_again_without_data(
    markdown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from a conf/roots.yaml: with its data, `mer table` would train
    experiment = tmp_path / markdown.parent.name
    shutil.copytree(markdown.parent, experiment)
    (experiment / markdown.name).unlink()
    table.main([str(experiment / f"{markdown.stem}.yaml"), f"runs_dir={tmp_path / 'no-runs'}"])
    assert (experiment / markdown.name).read_text() == markdown.read_text()
