"""Every score to 1e-12: frozen inputs scored by fractions and by scikit-learn, and cases worked by hand.

The frozen files and their scores are `tests/frozen`; nothing of this package made them.
"""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from torchmetrics import Metric

from mer import metrics, scores, spotting_metrics, spotting_scores
from mer.statistics import bootstrap_interval, grouped_confusions, mcnemar, score_matrices
from mer.tasks.metrics import UAR, UF1, F1Score, PooledAccuracy
from tests import trust
from tests.frozen import make

FIRST, SECOND, FRAMES, INTERVALS = make.read()
SCORES: dict[str, Any] = json.loads((make.HERE / "scores.json").read_text(encoding="utf-8"))
CLASSES = make.CLASSES
NAMES = ("accuracy", "f1", "uf1", "uar")
METRICS: dict[str, type[Metric]] = {"accuracy": PooledAccuracy, "f1": F1Score, "uf1": UF1, "uar": UAR}


def near(value: str | float) -> Any:
    return pytest.approx(float(Fraction(value)), abs=1e-12, rel=0)


def count(kind: str, amount: int) -> None:
    trust.record("numbers", kind, "equal", amount=amount)


def subset(name: str) -> pd.DataFrame:
    kind, _, value = name.partition(" ")
    if kind == "all":
        return FIRST
    return FIRST[FIRST["database" if kind == "database" else "label"] == value]


@pytest.fixture
def double() -> Iterator[None]:
    """torchmetrics gives scalars of torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# --- frozen ---


def test_the_frozen_scores_are_those_of_the_frozen_files() -> None:
    found = json.loads(json.dumps(make.references(FIRST, SECOND, FRAMES, INTERVALS)))
    assert list(found) == list(SCORES)
    for name in found:
        if name != "bootstrap":
            assert found[name] == SCORES[name]
    for name, interval in found["bootstrap"].items():
        assert interval == pytest.approx(SCORES["bootstrap"][name], abs=1e-12)


def test_the_frozen_files_reach_the_rules() -> None:
    called = set(make.decided(subset("database smic")))
    assert "joy" in set(subset("database smic")["label"]) - called, "a class that is never called"
    assert set(make.decided(subset("database samm"))) - set(subset("database samm")["label"]), (
        "absent, called"
    )
    best = FIRST[[f"p_{name}" for name in CLASSES]]
    assert (best.eq(best.max(axis=1), axis=0).sum(axis=1) > 1).sum() > 5, "equal probabilities"
    assert FRAMES["score"].nunique() < 20, "ties among frames"
    assert min(SCORES["intervals"]["counts"]) > 0, "hits, false alarms and misses"
    assert {0, 1} <= {len(pair["true"]) for pair in INTERVALS.values()}


@pytest.mark.parametrize("name", SCORES["clips"])
def test_scores_of_clips(name: str, double: None) -> None:
    part, expected = subset(name), SCORES["clips"][name]
    matrix = scores.pooled_confusion(part, CLASSES)
    assert matrix.tolist() == expected["confusion"]
    assert metrics.present_classes(matrix).tolist() == [label in set(part["label"]) for label in CLASSES]
    assert metrics.macro_precision(matrix) == near(expected["macro_precision"])
    each = metrics.scores(matrix)
    row = scores.subset_scores(part, CLASSES).loc["all"]
    probabilities = torch.tensor(part[[f"p_{label}" for label in CLASSES]].to_numpy())
    target = torch.tensor([CLASSES.index(label) for label in part["label"]])
    functions = (metrics.accuracy, metrics.f1_score, metrics.uf1, metrics.uar)
    for key, function in zip(NAMES, functions, strict=True):
        metric = METRICS[key](num_classes=len(CLASSES))
        for batch in torch.split(torch.arange(len(target)), 7):
            metric.update(probabilities[batch], target[batch])
        found = (
            *(each[key], row[key], function(matrix)),
            *(score_matrices(matrix, key), score_matrices(matrix[None, None], key).item()),
            metric.compute().item(),
        )
        for value in found:
            assert value == near(expected[key]), key
        count(f"{key} of clips", len(found))


def test_scores_of_each_database_in_one_table() -> None:
    table = scores.subset_scores(FIRST, CLASSES)
    assert table.index.tolist() == ["all", "casme2", "samm", "smic"]
    for name in table.index[1:]:
        for key in NAMES:
            assert table.loc[name, key] == near(SCORES["clips"][f"database {name}"][key])


def test_confusions_of_groups() -> None:
    index, matrices = grouped_confusions(FIRST, CLASSES, ["database"])
    for name, matrix in zip(index, matrices, strict=True):
        assert matrix.tolist() == SCORES["clips"][f"database {name}"]["confusion"]


@pytest.mark.parametrize("name", NAMES)
def test_bootstrap_interval(name: str) -> None:
    found = bootstrap_interval(FIRST, CLASSES, name, draws=make.DRAWS, level=0.9, seed=4)
    assert found == pytest.approx(SCORES["bootstrap"][name], abs=1e-12, rel=0)
    assert found[0] < metrics.scores(scores.pooled_confusion(FIRST, CLASSES))[name] < found[1]
    count("bootstrap", 2)


def test_mcnemar() -> None:
    b, c, p = mcnemar(FIRST, SECOND)
    expected = SCORES["mcnemar"]
    assert (b, c) == (expected["b"], expected["c"])
    assert p == near(expected["p"])
    assert p == pytest.approx(binomtest(b, b + c).pvalue, abs=1e-12)
    count("McNemar", 1)


@pytest.mark.parametrize("name", SCORES["frames"])
def test_scores_of_frames(name: str) -> None:
    part = FRAMES if name == "all" else FRAMES[FRAMES["database"] == name]
    inside, score = part["inside"].to_numpy(), part["score"].to_numpy()
    assert spotting_metrics.frame_auc(inside, score) == near(SCORES["frames"][name]["auc"])
    rates = spotting_metrics.roc_curve(inside, score)
    points = SCORES["frames"][name]["roc"]
    assert (rates[0][0], rates[1][0], rates[2][0]) == (0, 0, np.inf)
    assert len(rates[0]) == len(points) + 1
    for false_positive, true_positive, level, point in zip(
        *(rate[1:] for rate in rates), points, strict=True
    ):
        assert (level, false_positive, true_positive) == (point[0], near(point[1]), near(point[2]))
    count("AUC of frames", 1)
    count("points of ROC curves", len(points))


def test_scores_of_videos_hold_the_frozen_auc() -> None:
    rows = [
        {"database": database, "subject": "s0", "video": video, "onset": a, "offset": b}
        for (database, video), _ in FRAMES.groupby(["database", "video"])
        for a, b in INTERVALS[str(video)]["true"]
    ]
    table = spotting_scores.scores(FRAMES.assign(fps=100.0), pd.DataFrame(rows))
    for name, expected in SCORES["frames"].items():
        assert table.loc[name, "auc"] == near(expected["auc"])


def test_scores_of_intervals() -> None:
    expected = SCORES["intervals"]
    totals = np.zeros(3, np.int64)
    for video, pair in INTERVALS.items():
        shares = spotting_metrics.iou(pair["true"], pair["found"])
        exact = [[float(Fraction(share)) for share in row] for row in expected["iou"][video]]
        np.testing.assert_allclose(shares, np.reshape(exact, shares.shape), rtol=0, atol=1e-12)
        totals += spotting_metrics.match(pair["true"], pair["found"])
        count("IoU of intervals", shares.size)
    assert totals.tolist() == expected["counts"]
    pooled = spotting_metrics.interval_scores(*totals.tolist())
    assert pooled == {name: near(expected[name]) for name in ("precision", "recall", "f1")}
    count("pooled scores of intervals", 3)


# --- by hand ---


def all_scores(matrix: list[list[int]]) -> tuple[float, ...]:
    return (*metrics.scores(matrix).values(), metrics.macro_precision(matrix))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        # One class has clips: 3 of its 4 are right. Recall 3/4, precision 3/3, F1 6/(6 + 0 + 1); the class
        # that took the fourth has no clip, so it is no term of a mean.
        ([[3, 1], [0, 0]], ("3/4", "6/7", "6/7", "3/4", "1")),
        # A label map of one class.
        ([[5]], ("1", "1", "1", "1", "1")),
        # All wrong, and one of the classes absent: each mean is over two zeros.
        ([[0, 0, 2], [0, 0, 0], [3, 0, 0]], ("0", "0", "0", "0", "0")),
        # Class 1 absent and never called: as if the label map did not have it. Recall 1/2 and 1, precision
        # 1 and 2/3, F1 2/3 and 4/5; F1 of the means 2 (5/6) (3/4) / (5/6 + 3/4) = 15/19.
        ([[1, 0, 1], [0, 0, 0], [0, 0, 2]], ("3/4", "15/19", "11/15", "3/4", "5/6")),
        # The same, and a clip of class 0 more that is called 1: recall 1/3 and 1, precision 1 and 2/3,
        # F1 2/4 and 4/5; 2 (5/6) (2/3) / (3/2) = 20/27.
        ([[1, 1, 1], [0, 0, 0], [0, 0, 2]], ("3/5", "20/27", "13/20", "2/3", "5/6")),
    ],
)
def test_classes_without_clips_by_hand(matrix: list[list[int]], expected: tuple[str, ...]) -> None:
    assert all_scores(matrix) == tuple(near(value) for value in expected)
    for name, value in zip(NAMES, expected, strict=False):
        assert score_matrices(matrix, name) == near(value)
    count("worked by hand", len(expected))


def test_of_equal_probabilities_the_first_is_called() -> None:
    table = pd.DataFrame(
        [
            ("d", "s", "a", "x", 0.4, 0.4, 0.2),  # x and y: x, right
            ("d", "s", "b", "z", 0.2, 0.4, 0.4),  # y and z: y, wrong
            ("d", "s", "c", "z", 1 / 3, 1 / 3, 1 / 3),  # all: x, wrong
            ("d", "s", "e", "z", 0.0, 0.0, 0.0),  # nothing: x, wrong
        ],
        columns=["database", "subject", "clip", "label", "p_x", "p_y", "p_z"],
    )
    assert scores.pooled_confusion(table, ["x", "y", "z"]).tolist() == [[1, 0, 0], [0, 0, 0], [2, 1, 0]]
    # Recall 1 and 0 of the two classes that have clips.
    assert scores.subset_scores(table, ["x", "y", "z"]).loc["all", "uar"] == near("1/2")
    metric = UAR(num_classes=3)
    metric.update(torch.tensor(table[["p_x", "p_y", "p_z"]].to_numpy()), torch.tensor([0, 2, 2, 2]))
    assert metric.compute().item() == 0.5


def test_auc_by_hand() -> None:
    # Inside .5, .5, .9; outside .1, .5: of 6 pairs .1 loses to all three, .5 loses to .9 and ties with two.
    assert spotting_metrics.frame_auc([True, True, True, False, False], [0.5, 0.5, 0.9, 0.1, 0.5]) == near(
        "5/6"
    )


def test_iou_by_hand() -> None:
    # 1..5 and 5..9 share one of nine frames; 4..4 lies in 1..5; 6..9 begins where 1..5 has ended.
    found = spotting_metrics.iou([[1, 5]], [[5, 9], [4, 4], [6, 9]])
    assert found.tolist() == [[near("1/9"), near("1/5"), 0.0]]


def test_intervals_are_pooled_not_averaged_by_hand() -> None:
    # One video 1 hit of 1, another 1 hit and 3 false alarms: 2 * 2 / (2 * 2 + 3) pooled, not (1 + 2/5) / 2.
    assert spotting_metrics.interval_scores(2, 3, 0)["f1"] == near("4/7")


# --- any predictions ---

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(LABELS)
def test_any_confusion_is_scored_as_scikit_learn_does(pairs: list[tuple[int, int]]) -> None:
    true, guess = (list(column) for column in zip(*pairs, strict=True))
    names = [str(label) for label in true], [str(label) for label in guess]
    expected = make.by_scikit_learn(*names)
    found = metrics.scores(metrics.confusion_matrix(true, guess, 4))
    assert found == {name: near(expected[name]) for name in NAMES}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2, max_size=40))
def test_any_curve_has_scikit_learns_area(frames: list[tuple[bool, float]]) -> None:
    inside, score = (np.array(column) for column in zip(*frames, strict=True))
    found = spotting_metrics.frame_auc(inside, score)
    if inside.all() or not inside.any():
        assert np.isnan(found)
    else:
        assert found == near(sklearn_metrics.roc_auc_score(inside, score))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(0, 60))
def test_any_disagreement_has_the_binomials_p(b: int, c: int) -> None:
    table = pd.DataFrame({"database": "d", "subject": "s", "clip": [f"c{n}" for n in range(b + c + 1)]})
    table = table.assign(label="x")
    right = np.arange(b + c + 1)
    one, other = (table.assign(p_x=1.0 * hits, p_y=0.5) for hits in (right <= b, (right == 0) | (right > b)))
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    *counts, p = mcnemar(one, other)
    assert counts == [b, c]
    assert p == pytest.approx(expected, abs=1e-12)
