"""Scores against hand-worked cases, the papers' printed numbers, scikit-learn and exact fractions."""

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from mer.metrics import (
    accuracy,
    confusion_matrix,
    f1_score,
    macro_precision,
    present_classes,
    scores,
    uar,
    uf1,
)

Ints = NDArray[np.int64]

# LAENet table 5 (STSTNet) and table 6 (LAENet): percent of each true class, negative, positive, surprise.
CLIPS = np.array([250, 109, 83])
STSTNET_PERCENT = [[87.60, 8.80, 3.60], [36.70, 56.88, 6.42], [25.30, 3.61, 71.08]]
LAENET_PERCENT = [[89.60, 7.2, 3.2], [31.19, 61.47, 7.34], [22.89, 6.02, 71.08]]
STSTNET = np.array([[219, 22, 9], [40, 62, 7], [21, 3, 59]])


def from_percent(percent: list[list[float]]) -> Ints:
    cells: Ints = np.rint(np.array(percent) / 100 * CLIPS[:, None]).astype(np.int64)
    return cells


def random_case(seed: int) -> tuple[Ints, Ints, int]:
    """Skewed labels over 2..7 classes; often a class is absent, never predicted, or predicted and absent."""
    random = np.random.default_rng(seed)
    num_classes = int(random.integers(2, 8))
    clips = int(random.integers(1, 40))
    truths = random.choice(num_classes, size=int(random.integers(1, num_classes + 1)), replace=False)
    guesses = random.choice(num_classes, size=int(random.integers(1, num_classes + 1)), replace=False)
    target, predicted = random.choice(truths, clips), random.choice(guesses, clips)
    hit = random.random(clips) < 0.4
    return target, np.where(hit & np.isin(target, guesses), target, predicted), num_classes


def exact_scores(target: list[int], predicted: list[int], num_classes: int) -> dict[str, Fraction]:
    """The definitions in exact fractions, straight from the two lists."""
    pairs = list(zip(target, predicted, strict=True))
    precision, recall, f1 = [], [], []
    for label in range(num_classes):
        hits = sum(t == label and p == label for t, p in pairs)
        true, guessed = target.count(label), predicted.count(label)
        if true == 0:
            continue
        precision.append(Fraction(hits, guessed) if guessed else Fraction(0))
        recall.append(Fraction(hits, true))
        f1.append(Fraction(2 * hits, true + guessed))
    p, r = sum(precision, Fraction(0)) / len(precision), sum(recall, Fraction(0)) / len(recall)
    return {
        "accuracy": Fraction(sum(t == p for t, p in pairs), len(pairs)),
        "f1": 2 * p * r / (p + r) if p + r else Fraction(0),
        "uf1": sum(f1, Fraction(0)) / len(f1),
        "uar": r,
    }


def test_rows_are_true_and_columns_predicted() -> None:
    cm = confusion_matrix([0, 0, 0, 2], [1, 1, 0, 0], 3)
    assert cm.dtype == np.int64
    np.testing.assert_array_equal(cm, [[1, 2, 0], [0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("seed", range(20))
def test_confusion_matrix_is_scikit_learns(seed: int) -> None:
    target, predicted, num_classes = random_case(seed)
    reference = sklearn_metrics.confusion_matrix(target, predicted, labels=range(num_classes))
    np.testing.assert_array_equal(confusion_matrix(target, predicted, num_classes), reference)


def test_small_integer_types_do_not_wrap() -> None:
    # 20 * 20 = 400 does not fit in uint8.
    classes = np.arange(20, dtype=np.uint8)
    np.testing.assert_array_equal(confusion_matrix(classes, classes, 20), np.eye(20))


def test_pandas_columns_are_accepted() -> None:
    target = pd.Series([0, 1, 1], dtype="Int64")
    np.testing.assert_array_equal(
        confusion_matrix(target.to_numpy(), pd.Series([0, 1, 0]), 2), [[1, 0], [1, 1]]
    )


@pytest.mark.parametrize(
    ("target", "predicted", "message"),
    [
        ([0, 3], [0, 1], r"target\[1\] is 3: classes are 0\.\.2"),
        ([0, 1, 2], [0, 1, -1], r"predicted\[2\] is -1"),
        ([0, 1], [0], "target has 2 clips, predicted has 1"),
        ([0.0, 1.0], [0, 1], "target has type float64"),
        ([0, 1], [0.2, 0.8], "predicted has type float64"),
        ([0, 1], [[0, 1], [1, 0]], r"predicted has shape \(2, 2\)"),
    ],
)
def test_bad_classes_are_named(target: list[float], predicted: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(target, predicted, 3)


def test_no_classes_is_an_error() -> None:
    with pytest.raises(ValueError, match="num_classes is 0"):
        confusion_matrix([], [], 0)


@pytest.mark.parametrize(
    ("cm", "message"),
    [
        ([[1, 2, 3], [4, 5, 6]], r"shape \(2, 3\)"),
        ([1, 2], r"shape \(2,\)"),
        ([[1, -2], [0, 1]], "negative"),
        ([[1, float("nan")], [0, 1]], "non-finite"),
    ],
)
@pytest.mark.parametrize("score", [accuracy, f1_score, uf1, uar, macro_precision, present_classes, scores])
def test_no_score_of_something_else(
    score: Callable[[list[list[float]]], object], cm: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(cm)


def test_perfect_and_all_wrong() -> None:
    assert scores(np.diag([3, 1, 7])) == {"accuracy": 1.0, "f1": 1.0, "uf1": 1.0, "uar": 1.0}
    assert scores([[0, 2], [5, 0]]) == {"accuracy": 0.0, "f1": 0.0, "uf1": 0.0, "uar": 0.0}


def test_hand_worked() -> None:
    # Precision 3/3 and 4/5, recall 3/4 and 4/4; F1 6/7 and 8/9.
    cm = [[3, 1], [0, 4]]
    assert accuracy(cm) == pytest.approx(7 / 8, abs=1e-15)
    assert macro_precision(cm) == pytest.approx(9 / 10, abs=1e-15)
    assert uar(cm) == pytest.approx(7 / 8, abs=1e-15)
    assert uf1(cm) == pytest.approx(55 / 63, abs=1e-15)
    assert f1_score(cm) == pytest.approx(63 / 71, abs=1e-15)


def test_an_absent_class_is_left_out_even_when_predicted() -> None:
    # Class 1 has no clip, yet one clip of class 0 was called 1: a miss of class 0, no term of its own.
    cm = [[2, 1, 0], [0, 0, 0], [0, 0, 4]]
    assert present_classes(cm).tolist() == [True, False, True]
    assert uar(cm) == pytest.approx((2 / 3 + 1) / 2, abs=1e-15)
    assert uf1(cm) == pytest.approx((4 / 5 + 1) / 2, abs=1e-15)
    assert macro_precision(cm) == 1.0
    assert accuracy(cm) == pytest.approx(6 / 7, abs=1e-15)


def test_a_class_never_predicted_counts_zero() -> None:
    cm = [[2, 0, 0], [0, 3, 0], [0, 1, 0]]
    assert uar(cm) == pytest.approx(2 / 3, abs=1e-15)
    assert uf1(cm) == pytest.approx((1 + 6 / 7 + 0) / 3, abs=1e-15)
    assert macro_precision(cm) == pytest.approx((1 + 3 / 4 + 0) / 3, abs=1e-15)


def test_an_empty_matrix_has_no_score() -> None:
    cm = confusion_matrix([], [], 3)
    assert cm.shape == (3, 3)
    assert not present_classes(cm).any()
    assert all(np.isnan(score) for score in scores(cm).values())
    assert np.isnan(macro_precision(cm))


def test_all_negative_predictor() -> None:
    # The floor of the 442-clip composite (PAPERS section 4).
    cm = [[250, 0, 0], [109, 0, 0], [83, 0, 0]]
    assert round(accuracy(cm), 3) == 0.566
    assert round(uf1(cm), 3) == 0.241
    assert round(uar(cm), 3) == 0.333


def test_ststnet_row_of_laenet_table_4() -> None:
    # The printed "UAR" .7605 is the macro precision; the recall of table 5's matrix is .7186.
    np.testing.assert_array_equal(from_percent(STSTNET_PERCENT), STSTNET)
    assert {name: round(score, 4) for name, score in scores(STSTNET).items()} == {
        "accuracy": 0.7692,
        "f1": 0.7389,
        "uf1": 0.7353,
        "uar": 0.7186,
    }
    assert round(macro_precision(STSTNET), 4) == 0.7605


def test_laenet_row_of_laenet_table_4() -> None:
    assert {name: round(score, 4) for name, score in scores(from_percent(LAENET_PERCENT)).items()} == {
        "accuracy": 0.7919,
        "f1": 0.7597,
        "uf1": 0.7568,
        "uar": 0.7405,
    }


@pytest.mark.parametrize("seed", range(60))
def test_scores_are_scikit_learns_over_the_present_labels(seed: int) -> None:
    target, predicted, num_classes = random_case(seed)
    cm = confusion_matrix(target, predicted, num_classes)
    present = np.unique(target)
    macro = {"average": "macro", "labels": present, "zero_division": 0.0}
    precision = sklearn_metrics.precision_score(target, predicted, **macro)
    recall = sklearn_metrics.recall_score(target, predicted, **macro)
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert np.flatnonzero(present_classes(cm)).tolist() == present.tolist()
    assert accuracy(cm) == pytest.approx(sklearn_metrics.accuracy_score(target, predicted), abs=1e-12)
    assert macro_precision(cm) == pytest.approx(precision, abs=1e-12)
    assert uar(cm) == pytest.approx(recall, abs=1e-12)
    assert uf1(cm) == pytest.approx(sklearn_metrics.f1_score(target, predicted, **macro), abs=1e-12)
    assert f1_score(cm) == pytest.approx(harmonic, abs=1e-12)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.parametrize("seed", range(60))
def test_uar_is_balanced_accuracy(seed: int) -> None:
    target, predicted, num_classes = random_case(seed)
    reference = sklearn_metrics.balanced_accuracy_score(target, predicted)
    assert uar(confusion_matrix(target, predicted, num_classes)) == pytest.approx(reference, abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_scores_are_the_exact_fractions(seed: int) -> None:
    target, predicted, num_classes = random_case(seed)
    exact = exact_scores(target.tolist(), predicted.tolist(), num_classes)
    ours = scores(confusion_matrix(target, predicted, num_classes))
    assert ours.keys() == exact.keys()
    for name, score in ours.items():
        assert type(score) is float
        assert score == pytest.approx(float(exact[name]), abs=1e-12)


def test_random_cases_reach_the_rare_rules() -> None:
    absent = never_predicted = absent_but_predicted = 0
    for seed in range(60):
        target, predicted, num_classes = random_case(seed)
        truths, guesses = set(target.tolist()), set(predicted.tolist())
        absent += len(truths) < num_classes
        never_predicted += bool(truths - guesses)
        absent_but_predicted += bool(guesses - truths)
    assert min(absent, never_predicted, absent_but_predicted) >= 10


def test_scores_do_not_depend_on_the_order_of_classes() -> None:
    order = [2, 0, 1]
    permuted = STSTNET[np.ix_(order, order)]
    for name, score in scores(permuted).items():
        assert score == pytest.approx(scores(STSTNET)[name], abs=1e-15)


def test_the_mean_over_folds_is_another_number() -> None:
    # Two subjects, one of them with clips of one class only, as 23 of the 68 are.
    folds = [([0, 0, 0], [0, 0, 1]), ([0, 1, 1], [0, 1, 0])]
    matrices = [confusion_matrix(target, predicted, 2) for target, predicted in folds]
    # Fold 1: F1 of class 0 is 4/5. Fold 2: 2/3 and 2/3. Pooled [[3, 1], [1, 1]]: 3/4 and 1/2.
    assert np.mean([uf1(cm) for cm in matrices]) == pytest.approx(11 / 15, abs=1e-15)
    assert uf1(np.sum(matrices, axis=0)) == pytest.approx(5 / 8, abs=1e-15)


def test_metrics_and_figures_import_without_torch_or_pyplot() -> None:
    # `mer table` scores stored predictions in seconds: torch alone takes longer to import.
    code = (
        "import sys, mer.metrics, mer.plots; "
        "print([m for m in ('torch', 'sklearn', 'matplotlib.pyplot') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
