"""Verdicts on rows and matrices."""

import numpy as np
import pytest

from mer import metrics
from mer.errors import MerError
from mer.print_readings import best_sizes, check_matrix, check_row, describe_row, other_sizes
from tests.test_print_check import random_matrix

FULL = [250, 109, 83]
STSTNET = np.array([[219, 22, 9], [40, 62, 7], [21, 3, 59]])


def printed_scores(matrix: np.ndarray) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in metrics.scores(matrix).items()}


def test_rows_as_a_matrix_gives_them_are_consistent() -> None:
    rng = np.random.default_rng(7)
    for counts in (FULL, [88, 32, 25], [60, 40]):
        for _ in range(3):
            check = check_row(counts, printed_scores(random_matrix(rng, counts)))
            assert check.verdict == "consistent"
            assert check.readings[0].complete


def test_precision_printed_as_uar_is_told() -> None:
    """Where no matrix has the figures as named; the true UAR is among the values that are left."""
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(6):
        matrix = random_matrix(rng, FULL)
        printed = printed_scores(matrix) | {"uar": f"{metrics.macro_precision(matrix):.4f}"}
        check = check_row(FULL, printed)
        if check.verdict == "consistent":
            assert check.rivals is None or {"uar": "precision"} in check.rivals
            continue
        told += 1
        (reading,) = [reading for reading in check.readings if reading.meaning == {"uar": "precision"}]
        low, high = reading.spans["uar"]
        assert low <= metrics.uar(matrix) <= high
        assert reading.nearby is not None
        assert 0 < reading.nearby < 0.9
    assert told >= 4


def test_exchanged_columns_are_told() -> None:
    printed = printed_scores(STSTNET)
    check = check_row(FULL, printed | {"f1": printed["uf1"], "uf1": printed["f1"]})
    assert check.verdict == "only if"
    assert {"f1": "uf1", "uf1": "f1"} in [reading.meaning for reading in check.readings]


def test_truncated_figures_are_told() -> None:
    values = metrics.scores(STSTNET)
    printed = {name: f"{np.floor(value * 1e4) / 1e4:.4f}" for name, value in values.items()}
    assert printed != printed_scores(STSTNET)
    check = check_row(FULL, printed)
    assert check.verdict == "only if"
    assert ({}, "truncated") in [(reading.meaning, reading.rounding) for reading in check.readings]
    assert "its figures are truncated" in describe_row(FULL, printed, check)


def test_an_accuracy_that_is_no_whole_number_of_clips() -> None:
    printed = {"accuracy": "79.91%", "f1": "75.97%"}
    check = check_row(FULL, printed)
    assert check.verdict == "inconsistent"
    assert check.sizes
    for size in check.sizes:
        assert any(f"{correct / size:.4f}" == "0.7991" for correct in range(size + 1))
    assert describe_row(FULL, printed, check).startswith("accuracy 79.91% is no k/442")


def test_sizes_that_fit() -> None:
    printed = [f"{correct / 185:.4f}" for correct in (20, 44, 86)] + ["0.2015"]
    assert best_sizes(printed, 187) == ((185,), 3)
    assert 185 in other_sizes(printed[:3], 187)
    assert 185 not in other_sizes(printed, 187)


def test_matrix_from_percentages() -> None:
    cells = [[f"{100 * cell / row.sum():.2f}%" for cell in row] for row in STSTNET]
    check = check_matrix(cells, FULL)
    assert check.matrix is not None
    assert check.matrix.tolist() == STSTNET.tolist()
    assert list(check.correct) == [219 + 62 + 59]
    assert check_matrix(cells, [250, 107, 83]).rows == (1,), "36.70% of 107 is no whole number of clips"


def test_matrix_of_all_clips() -> None:
    cells = [[f"{cell / STSTNET.sum():.4f}" for cell in row] for row in STSTNET]
    check = check_matrix(cells, FULL, of="all")
    assert check.matrix is not None
    assert check.matrix.tolist() == STSTNET.tolist()
    assert check_matrix(cells, [240, 119, 83], of="all").rows == (0, 1)
    coarse = check_matrix(
        [[f"{cell / STSTNET.sum():.2f}" for cell in row] for row in STSTNET], FULL, of="all"
    )
    assert coarse.ways > 1
    assert coarse.matrix is None
    assert 340 in coarse.correct
    empty = check_matrix([["0.75", "0.25"], ["0", "0"]], [4, 0], of="all")
    assert empty.matrix is not None
    assert empty.matrix.tolist() == [[3, 1], [0, 0]]


def test_bad_input() -> None:
    with pytest.raises(MerError, match="auc: no such figure; there are accuracy"):
        check_row(FULL, {"auc": "0.5"})
    with pytest.raises(MerError, match="K rows with K cells and K counts"):
        check_matrix([["50%", "50%"]], [4])
    with pytest.raises(MerError, match="K rows with K cells and K counts"):
        check_matrix([["50%", "50%"], ["0%", "100%"]], [4, 4, 4])
