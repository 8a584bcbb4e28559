"""Rows of a table in W&B: offline, read back from its files."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from mer import table
from mer.scores import ALL, subset_scores
from tests.test_table import CLASSES, TABLE, write_run, write_table
from tests.wandb_reader import Logged, read_offline_run

SCORES = {
    "acc": (ALL, "accuracy"),
    "f1": (ALL, "f1"),
    "uf1": (ALL, "uf1"),
    "uar": (ALL, "uar"),
    "smic": ("smic", "uf1"),
}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No account, no key, and wandb's caches in the test's folder."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    yield
    with warnings.catch_warnings():
        # wandb leaves its TemporaryDirectory objects to the garbage collector (0.31).
        warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)
        gc.collect()


def logged_rows(path: Path, *arguments: str) -> dict[str, Logged]:
    """The rows that a table logs, by label."""
    runs_dir = path.parents[2] / "runs"
    table.main([str(path), f"runs_dir={runs_dir}", "logger=wandb", "logger.project=mer-test", *arguments])
    found = [read_offline_run(folder) for folder in (runs_dir / "tables/wandb").glob("offline-run-*")]
    assert len({row.name for row in found}) == len(found)
    return {row.name: row for row in found}


def test_a_row_is_a_run_with_ours_beside_the_paper_s(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    predictions = write_run(tmp_path)
    write_run(tmp_path, "narrow")
    rows = logged_rows(path)
    assert set(rows) == {row["label"] for row in TABLE["rows"]}

    row = rows["Net [1]"]
    assert (row.group, row.job_type, row.project) == ("paper/table4", "table row", "mer-test")
    assert row.config["variant"] == "net/base"
    assert row.config["data"] == ["faces"]
    assert row.config["seeds"] == [0]
    scores = subset_scores(predictions, CLASSES)
    ours = {f"ours/{key}": float(scores[score][subset]) for key, (subset, score) in SCORES.items()}
    found = {key: value for key, value in row.summary.items() if key.startswith("ours/")}
    assert found == pytest.approx(ours)
    assert row.summary["paper/acc"] == 0.528
    assert row.summary["difference/acc"] == pytest.approx(ours["ours/acc"] - 0.528, abs=5e-5)

    other = rows["Other"]
    assert other.config["not_run"] == "not implemented yet"
    assert other.config["quoted"]
    # A dash is no number.
    assert {key for key in other.summary if "/" in key and not key.startswith("_")} == {"paper/acc"}


def test_seeds_are_one_row_and_logging_again_replaces_it(tmp_path: Path) -> None:
    path = write_table(tmp_path, seeds=[0, 1])
    for variant in ("base", "narrow"):
        for seed in (0, 1):
            write_run(tmp_path, variant, seed=seed)
    first = logged_rows(path)["Narrow"]
    assert first.summary["spread/uf1"] > 0
    again = logged_rows(path)["Narrow"]
    assert again.id == first.id
    assert again.summary["ours/uf1"] == first.summary["ours/uf1"]
