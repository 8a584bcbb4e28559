"""Two run folders against each other: what is told, and as how much."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import runs
from mer.run_difference import compare
from tests.run_folder import CLASSES, FOLDS, make_fold, make_plan, make_predictions, make_run
from tests.spotting_run import make_spotting_run

NOW = "now/laenet/base/synthetic/loso/seed-0"
PROBABILITIES = [f"p_{name}" for name in CLASSES]


def with_fold(runs_dir: Path, fold: str, predictions: pd.DataFrame) -> Path:
    run = make_run(runs_dir, folds=[other for other in FOLDS if other != fold])
    make_fold(run, fold, runs.read_plan(run), predictions)
    return run


def test_the_same_run_is_identical(tmp_path: Path) -> None:
    difference = compare(make_run(tmp_path / "then"), make_run(tmp_path / "now"), FOLDS)
    assert difference.identical
    assert (difference.decisions, difference.changed, difference.epoch) == (12, 0, None)
    assert difference.files == {"predictions.parquet": (3, 3), "metrics.csv": (3, 3)}
    assert difference.verdict(0) == "identical"


def test_one_changed_decision_is_counted(tmp_path: Path) -> None:
    predictions = make_predictions(FOLDS[1])
    predictions.loc[2, PROBABILITIES] = predictions.loc[2, PROBABILITIES[::-1]].to_numpy()
    apart = abs(float(predictions["p_negative"][2]) - float(predictions["p_positive"][2]))
    difference = compare(
        make_run(tmp_path / "then"), with_fold(tmp_path / "now", FOLDS[1], predictions), FOLDS
    )
    assert (difference.changed, difference.files["predictions.parquet"]) == (1, (2, 3))
    assert difference.probability == pytest.approx(apart, abs=1e-12)
    assert not difference.within(1.0)
    assert (
        difference.verdict(1.0) == f"differs: 1 of 12 decisions, probabilities differ by at most {apart:.1g}"
    )
    alone = compare(tmp_path / "then/laenet/base/synthetic/loso/seed-0", tmp_path / NOW, [FOLDS[0]])
    assert alone.identical, "the changed fold was not asked for"


def test_the_last_bit_is_told_and_within_a_tolerance(tmp_path: Path) -> None:
    predictions = make_predictions(FOLDS[0])
    predictions.loc[0, "p_negative"] = np.nextafter(predictions["p_negative"].to_numpy()[0], np.float32(2))
    difference = compare(
        make_run(tmp_path / "then"), with_fold(tmp_path / "now", FOLDS[0], predictions), FOLDS
    )
    assert 0 < difference.probability < 1e-7
    assert not difference.identical
    assert difference.verdict(1e-6).startswith("same decisions, probabilities differ by at most ")
    assert difference.verdict(1e-6).endswith("e-08 (tolerance 1e-06)")
    assert not difference.within(1e-9)
    assert difference.verdict(1e-9).startswith("differs: same decisions, ")


def test_the_order_of_rows_says_nothing(tmp_path: Path) -> None:
    turned = make_predictions(FOLDS[0])[::-1]
    difference = compare(make_run(tmp_path / "then"), with_fold(tmp_path / "now", FOLDS[0], turned), FOLDS)
    assert difference.identical
    assert difference.files["predictions.parquet"] == (2, 3)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "clip",
            "clip9",
            "other rows: 1 were there only then and 1 only now, such as casme2/s1/clip0/casme2/s1/3",
        ),
        (
            "label",
            "positive",
            "1 of 12 rows have another label, such as casme2/s1/clip0/casme2/s1/3: "
            "negative then, positive now",
        ),
    ],
)
def test_other_clips_or_labels_are_no_comparison(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    predictions = make_predictions(FOLDS[0])
    predictions.loc[0, column] = value
    difference = compare(
        make_run(tmp_path / "then"), with_fold(tmp_path / "now", FOLDS[0], predictions), FOLDS
    )
    assert difference.rows == message
    assert not difference.within(1.0)
    assert difference.verdict(1.0) == f"differs: {message}"


def test_other_classes_are_no_comparison(tmp_path: Path) -> None:
    now = make_run(tmp_path / "now", folds=[], classes=["positive", "negative"])
    plan = make_plan(classes=["positive", "negative"])
    for fold in FOLDS:
        make_fold(now, fold, plan, make_predictions(fold, plan.classes))
    difference = compare(make_run(tmp_path / "then"), now, FOLDS)
    assert difference.verdict(1.0) == (
        "differs: the classes were negative, positive and are positive, negative"
    )


def test_the_first_epoch_that_parts_is_named(tmp_path: Path) -> None:
    now = make_run(tmp_path / "now")
    path = runs.fold_folder(now, FOLDS[2]) / "metrics.csv"
    metrics = pd.read_csv(path)
    metrics["train_loss"] += np.array([0, 1e-9, 0])
    plan = runs.read_plan(now)
    runs.finish(path.parent, make_predictions(FOLDS[2]), metrics, {"config": plan.config})
    difference = compare(make_run(tmp_path / "then"), now, FOLDS)
    assert difference.epoch == 2
    assert difference.identical, "what was predicted is the same"


def test_scores_of_frames_are_compared(tmp_path: Path) -> None:
    key = runs.RunKey("timecontrast", "base", "synthetic_videos", "loso", 0)
    then, same, late = (
        make_spotting_run(tmp_path / name, key, shift=shift)
        for name, shift in (("then", 0), ("same", 0), ("late", 1))
    )
    folds = runs.read_plan(then).folds
    difference = compare(then, same, folds)
    assert difference.identical
    assert difference.frames == len(runs.read_spotting(then)[0])
    assert difference.files["frames.parquet"] == (len(folds), len(folds))
    other = compare(then, late, folds)
    assert not other.within(1e-3)
    assert other.verdict(1e-3).startswith("differs: same decisions, scores of frames differ by at most ")
