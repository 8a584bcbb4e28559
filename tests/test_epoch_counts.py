"""Counts of every epoch: they give what `mer.selection` gives on the predictions themselves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import runs, selection
from mer.epoch_counts import RULES, EpochCounts, check_together, count_run, read_counts, write_counts
from mer.errors import MerError
from mer.runs import RunKey
from mer.scores import ALL, subset_scores
from tests.run_folder import CLASSES, FOLDS, make_metrics, make_plan, make_predictions, make_record

EPOCHS = 7
METRICS = ["accuracy", "f1", "uf1", "uar"]
RECORD = {"seconds": 1.5, "mer": "0.1.0", "versions": {"torch": "2.9.0"}, "date": "2026-01-02"}


def key_of(seed: int = 0, variant: str = "base") -> RunKey:
    return RunKey("laenet", variant, "faces", "loso", seed)


def every_epoch(fold: str, seed: int) -> pd.DataFrame:
    """Other probabilities at every epoch; some repeat, so that epochs tie."""
    draw = np.random.default_rng([seed, FOLDS.index(fold)])
    first = make_predictions(fold).assign(seed=seed)
    parts = []
    for epoch in range(1, EPOCHS + 1):
        probabilities = draw.dirichlet([1] * len(CLASSES), len(first)).astype(np.float32)
        part = first.assign(epoch=epoch)
        part[[f"p_{name}" for name in CLASSES]] = probabilities
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def make_run(
    runs_dir: Path, seed: int = 0, variant: str = "base", keep: list[int] | None = None
) -> tuple[RunKey, pd.DataFrame]:
    """A finished run of three folds, seven epochs; its predictions."""
    key = key_of(seed, variant)
    plan = make_plan()
    runs.start(key.folder(runs_dir), plan)
    every = []
    for fold in FOLDS:
        predictions = every_epoch(fold, seed)
        if keep:
            predictions = predictions[predictions["epoch"].isin(keep)]
        with runs.claim(key.folder(runs_dir), fold) as folder:
            runs.finish(folder, predictions, make_metrics(fold), make_record(plan, **RECORD))
        every.append(predictions)
    return key, pd.concat(every, ignore_index=True)


def counted(runs_dir: Path, seed: int = 0) -> EpochCounts:
    found = count_run(key_of(seed), runs_dir)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_the_predictions(tmp_path: Path, seed: int, metric: str) -> None:
    _, predictions = make_run(tmp_path, seed)
    counts = counted(tmp_path, seed)
    leak = selection.leak(predictions, CLASSES, metric)
    for rule in RULES:
        assert counts.score(rule, metric) == pytest.approx(leak.loc[rule, "score"], abs=1e-12)
        shown = subset_scores(selection.select(predictions, rule), CLASSES)
        for subset in (ALL, "casme2", "smic"):
            assert counts.score(rule, metric, subset) == pytest.approx(shown.loc[subset, metric], abs=1e-12)


def test_the_rules_differ_on_these_runs(tmp_path: Path) -> None:
    """Else the comparison above would compare nothing."""
    make_run(tmp_path)
    assert len({counted(tmp_path).score(rule, "uf1") for rule in RULES}) == len(RULES)


def test_a_fold_that_tests_several_databases_has_one_epoch(tmp_path: Path) -> None:
    key = key_of()
    plan = make_plan(folds=["all/held-out"])
    runs.start(key.folder(tmp_path), plan)
    predictions = pd.concat([every_epoch(fold, 0) for fold in FOLDS], ignore_index=True)
    predictions["fold"] = "all/held-out"
    with runs.claim(key.folder(tmp_path), "all/held-out") as folder:
        runs.finish(folder, predictions, make_metrics(FOLDS[0]), make_record(plan, **RECORD))
    counts = counted(tmp_path)
    assert len(counts.parts) == 2
    leak = selection.leak(predictions, CLASSES, "uf1")
    for rule in RULES:
        assert counts.score(rule, "uf1") == pytest.approx(leak.loc[rule, "score"], abs=1e-12)


def test_they_survive_being_stored(tmp_path: Path) -> None:
    key, _ = make_run(tmp_path)
    counts = counted(tmp_path)
    path = tmp_path / "table" / "laenet.base.seed-0.parquet"
    assert read_counts(path, key) is None
    write_counts(path, counts)
    back = read_counts(path, key)
    assert back is not None
    assert back.record == counts.record
    np.testing.assert_array_equal(back.matrices, counts.matrices)
    np.testing.assert_array_equal(back.epochs, counts.epochs)
    pd.testing.assert_frame_equal(back.parts, counts.parts)
    with pytest.raises(MerError, match=r"seed-0\.parquet: stored from .*seed=0.*, not from .*seed=1"):
        read_counts(path, key_of(1))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(MerError, match=r"seed-0\.parquet: damaged \(not the bytes"):
        read_counts(path, key)
    path.unlink()
    with pytest.raises(MerError, match=r"seed-0\.parquet: damaged.*restore both files"):
        read_counts(path, key)


def test_unfinished_runs_and_single_epochs_are_none(tmp_path: Path) -> None:
    assert count_run(key_of(), tmp_path) is None
    key, _ = make_run(tmp_path / "last", keep=[EPOCHS])
    assert count_run(key, tmp_path / "last") is None
    make_run(tmp_path)
    (runs.fold_folder(key.folder(tmp_path), FOLDS[0]) / "run.yaml").unlink()
    assert count_run(key, tmp_path) is None


def test_runs_of_other_clips_do_not_stand_together(tmp_path: Path) -> None:
    make_run(tmp_path)
    key = key_of(variant="other")
    plan = make_plan(folds=FOLDS[:2], clips=8)
    runs.start(key.folder(tmp_path), plan)
    for fold in FOLDS[:2]:
        with runs.claim(key.folder(tmp_path), fold) as folder:
            runs.finish(folder, every_epoch(fold, 0), make_metrics(fold), make_record(plan, **RECORD))
    other = count_run(key, tmp_path)
    assert other is not None
    check_together([counted(tmp_path), counted(tmp_path)])
    with pytest.raises(MerError, match=r"laenet/base.*laenet/other.*do not fit in one table: other classes"):
        check_together([counted(tmp_path), other])


def test_what_is_no_database(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(MerError, match="no database samm; it holds casme2, smic"):
        counted(tmp_path).score(selection.LAST, "uf1", "samm")
