"""Which epoch a table counts, and how sure it is of a score."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mer import runs, selection, table, table_runs
from mer.errors import MerError
from mer.runs import Plan, RunKey
from mer.scores import subset_scores
from mer.statistics import bootstrap_interval
from tests.test_table import CLASSES, SUBJECTS, lines_of, render, run_table, write_run, write_table

ROWS = [{"label": "Net", "variant": "net/base", "paper": {"acc": "0.5000"}}]
LOSSES = {1: 0.9, 2: 0.4, 3: 0.7}  # of every fold but the first, which is best at its first epoch


def write_epochs(folder: Path, *, losses: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A run with three epochs a fold; gives its predictions and its metrics."""
    run = RunKey("net", "base", "faces", "loso", 0).folder(folder / "runs")
    names = [f"{database}/{subject}" for database, subject in SUBJECTS]
    runs.start(run, Plan({"epochs": 3, "store": "every_epoch"}, CLASSES, names, 36, "c0ffee00" * 8))
    random = np.random.default_rng(1)
    parts, logs = [], []
    for (database, subject), name in zip(SUBJECTS, names, strict=True):
        part = pd.DataFrame(
            {
                "database": database, "subject": subject, "clip": [f"c{n}" for n in range(9)] * 3,
                "fold": name, "seed": 0, "epoch": np.repeat([1, 2, 3], 9),
                "label": [CLASSES[n] for n in (0, 0, 0, 0, 1, 1, 1, 2, 2)] * 3,
            }
        )  # fmt: skip
        part[[f"p_{label}" for label in CLASSES]] = random.dirichlet(np.ones(3), size=27).astype(np.float32)
        log = pd.DataFrame({"epoch": [1, 2, 3], "val_loss": [*LOSSES.values()]})
        if name == names[0]:
            log["val_loss"] = [0.1, 0.4, 0.7]
        record = {
            "overrides": [], "config": {"epochs": 3, "store": "every_epoch"}, "commit": "0123456789abcdef",
            "content": "c0ffee00" * 8, "dirty": False, "mer": "0.1.0", "versions": {"torch": "2.9.0"},
            "date": "2026-01-02", "seconds": 1.5,
        }  # fmt: skip
        with runs.claim(run, name) as place:
            runs.finish(place, part, log if losses else log[["epoch"]], record)
        parts.append(part)
        logs.append(log.assign(fold=name))
    return pd.concat(parts, ignore_index=True), pd.concat(logs, ignore_index=True)


def write_rule(folder: Path, rule: str, **changes: Any) -> Path:
    return write_table(folder, **{"rows": ROWS, "footnotes": {}, "select": rule, **changes})


@pytest.mark.parametrize("rule", selection.RULES)
def test_scores_are_those_of_the_epochs_that_the_rule_chooses(tmp_path: Path, rule: str) -> None:
    predictions, metrics = write_epochs(tmp_path)
    markdown = render(write_rule(tmp_path, rule))
    scores = subset_scores(selection.select(predictions, rule, metrics), CLASSES).loc["all"]
    assert lines_of(markdown)[3][2:6] == [f"{scores[name]:.4f}" for name in ("accuracy", "f1", "uf1", "uar")]
    # The epochs of the training, whichever was chosen.
    assert ["net/base", "0", "4/4", "3"] in [line[:4] for line in lines_of(markdown)]


def test_the_rules_differ_here(tmp_path: Path) -> None:
    predictions, metrics = write_epochs(tmp_path)
    chosen = {
        tuple(selection.select(predictions, rule, metrics).groupby("fold")["epoch"].first())
        for rule in selection.RULES
    }
    assert len(chosen) == len(selection.RULES)


@pytest.mark.parametrize("rule", sorted(selection.LEAKY))
@pytest.mark.parametrize("suffix", ["md", "tex", "csv"])
def test_a_leak_is_told_in_the_title_of_every_format(tmp_path: Path, rule: str, suffix: str) -> None:
    write_epochs(tmp_path)
    path = write_rule(tmp_path, rule)
    render(path, "--format", suffix) if suffix == "md" else table.main(
        [str(path), "--format", suffix, f"runs_dir={tmp_path / 'runs'}"]
    )
    text = path.with_suffix(f".{suffix}").read_text()
    assert f"LEAK ({rule}): A small table" in text.replace(r"\_", "_")
    if suffix == "md":
        assert f"What it shows. Scores are counted {selection.describe(rule)}.\n" in text


def test_a_rule_that_does_not_leak_is_told_in_the_caption(tmp_path: Path) -> None:
    write_epochs(tmp_path)
    markdown = render(write_rule(tmp_path, selection.BEST_ON_VALIDATION))
    assert markdown.startswith("# A small table\n")
    assert "What it shows. Scores are counted at each fold's epoch with the lowest loss on" in markdown


def test_stored_predictions_are_those_of_one_rule(tmp_path: Path) -> None:
    write_epochs(tmp_path)
    path = write_rule(tmp_path, selection.BEST_ON_VALIDATION)
    first = render(path)
    record = yaml.safe_load((path.parent / "table4" / "net.base.seed-0.yaml").read_text())
    assert (record["select"], record["epochs"], record["clips"]) == ("best_on_validation", 3, 36)
    (tmp_path / "runs").rename(tmp_path / "gone")
    assert render(path) == first
    with pytest.raises(MerError, match=r"chosen under select=best_on_validation, not last; .*--fresh"):
        render(write_rule(tmp_path, selection.LAST))


def test_a_run_without_validation_losses(tmp_path: Path) -> None:
    write_epochs(tmp_path, losses=False)
    with pytest.raises(MerError, match=r"net/base/faces/loso/seed-0: .*no column val_loss"):
        render(write_rule(tmp_path, selection.BEST_ON_VALIDATION))


def test_a_run_that_kept_its_last_epoch_only(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(MerError, match=r"net/base/faces/loso/seed-0: .*only epoch 3 was kept"):
        render(write_rule(tmp_path, selection.BEST_ON_TEST_EPOCH))


def test_what_is_trained_for_a_rule_that_compares_epochs_keeps_them_all(tmp_path: Path) -> None:
    key = RunKey("demo", "ststnet", "synthetic", "loso", 1, "")
    request = table_runs.Request("", tmp_path, (), partial=False, fresh=False, stand_in=False)
    last = table_runs.training_overrides(key, request, selection.LAST)
    assert last == ["experiment=demo", "variant=demo/ststnet", "data=synthetic", "protocol=loso", "seed=1"]
    for rule in set(selection.RULES) - {selection.LAST}:
        assert table_runs.training_overrides(key, request, rule) == [*last, "store=every_epoch"]


def test_a_variant_without_validation_subjects_is_not_trained(tmp_path: Path) -> None:
    own = tmp_path / "conf" / "variant" / "demo"
    own.mkdir(parents=True)
    (own / "short.yaml").write_text(
        "# @package _global_\ndefaults: [override /experiment: demo, _self_]\nepochs: 1\n"
    )
    rows = [{"label": "Net", "variant": "demo/short"}]
    done = run_table(
        tmp_path, write_rule(tmp_path, selection.BEST_ON_VALIDATION, rows=rows, data="synthetic")
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("mer: demo/short: keeps no validation subjects")


def test_an_unknown_rule(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"table4\.yaml: select=best: choose last, best_on_validation"):
        render(write_rule(tmp_path, "best"))


def test_an_interval_stands_beside_the_score_of_one_run(tmp_path: Path) -> None:
    predictions = write_run(tmp_path)
    columns = {
        "acc": {"subset": "all", "metric": "accuracy", "header": "Acc", "interval": True},
        "smic": {"subset": "smic", "metric": "uf1", "header": "SMIC", "interval": True},
        "uar": {"subset": "all", "metric": "uar", "header": "UAR"},
    }
    rows: list[dict[str, Any]] = [{"label": "Majority", "kind": "majority"}, *ROWS]
    path = write_table(tmp_path, columns=columns, rows=rows, footnotes={})
    markdown = render(path)
    grid = lines_of(markdown)
    for cell, part, metric in [
        (grid[4][2], predictions, "accuracy"),
        (grid[4][3], predictions[predictions["database"] == "smic"], "uf1"),
    ]:
        low, high = bootstrap_interval(part, CLASSES, metric)
        assert low < high
        assert cell.endswith(f" [{low:.4f}, {high:.4f}]")
    assert "[" not in grid[2][2] + grid[4][4]
    assert "another version of it may draw others" in markdown
    table.main([str(path), "--format", "csv", f"runs_dir={tmp_path / 'runs'}"])
    line = pd.read_csv(path.with_suffix(".csv"), dtype=str).loc[1]
    assert f"{line['Acc ours']} [{line['Acc low']}, {line['Acc high']}]" == grid[4][2]


def test_several_seeds_have_a_spread_and_the_interval_of_their_mean(tmp_path: Path) -> None:
    runs_of = [write_run(tmp_path, seed=seed) for seed in (0, 1)]
    columns = {"acc": {"subset": "all", "metric": "accuracy", "header": "Acc", "interval": True}}
    path = write_table(tmp_path, columns=columns, rows=ROWS, footnotes={}, seeds=[0, 1])
    markdown = render(path)
    low, high = bootstrap_interval(runs_of, CLASSES, "accuracy")
    cell = lines_of(markdown)[3][2]
    assert "±" in cell
    assert cell.endswith(f" [{low:.4f}, {high:.4f}]")
    assert "interval of the mean, over subjects" in markdown
    table.main([str(path), "--format", "csv", f"runs_dir={tmp_path / 'runs'}"])
    line = pd.read_csv(path.with_suffix(".csv"), dtype=str).loc[0]
    assert cell == f"{line['Acc ours']} ± {line['Acc ours sd']} [{line['Acc low']}, {line['Acc high']}]"


def test_a_seed_that_has_not_run_leaves_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    columns = {"acc": {"subset": "all", "metric": "accuracy", "header": "Acc", "interval": True}}
    path = write_table(tmp_path, columns=columns, rows=ROWS, footnotes={}, seeds=[0, 1])
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    (cell,) = (line[2] for line in lines_of(capsys.readouterr().out) if line[1].startswith("ours, PARTIAL"))
    assert float(cell) > 0


def test_rendering_under_a_rule_imports_no_torch(tmp_path: Path) -> None:
    write_epochs(tmp_path)
    path = write_rule(tmp_path, selection.BEST_ON_TEST_EPOCH)
    code = (
        "import sys; from mer import table; table.main(sys.argv[1:]);"
        "sys.exit(bool({'torch', 'hydra', 'omegaconf', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(path), f"runs_dir={tmp_path / 'runs'}"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
