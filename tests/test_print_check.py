"""The search for matrices behind printed figures: against every matrix of tiny sets, and random ones."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from mer import metrics
from mer.errors import MerError
from mer.print_check import FIGURES, Interval, Rounding, correct_clips, printed_interval, search


def weighted_f1(matrix: NDArray[np.int64]) -> float:
    counts = matrix.sum(axis=1)
    return float((counts * 2 * matrix.diagonal() / (counts + matrix.sum(axis=0))).sum() / counts.sum())


REFERENCE: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.f1_score,
    "uf1": metrics.uf1,
    "uar": metrics.uar,
    "precision": metrics.macro_precision,
    "weighted_f1": weighted_f1,
}
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def rows_of(clips: int, classes: int) -> list[tuple[int, ...]]:
    return [row for row in product(range(clips + 1), repeat=classes) if sum(row) == clips]


def every_matrix(counts: tuple[int, ...]) -> Iterator[NDArray[np.int64]]:
    for rows in product(*(rows_of(clips, len(counts)) for clips in counts)):
        yield np.array(rows)


def pair(matrix: NDArray[np.int64]) -> Pair:
    return tuple(matrix.diagonal().tolist()), tuple(matrix.sum(axis=0).tolist())


def random_matrix(rng: np.random.Generator, counts: list[int]) -> NDArray[np.int64]:
    return np.stack(
        [
            rng.multinomial(n, 0.3 * rng.dirichlet(np.ones(len(counts))) + 0.7 * np.eye(len(counts))[k])
            for k, n in enumerate(counts)
        ]
    )


def test_figures_have_a_reference() -> None:
    assert set(FIGURES) == set(REFERENCE)


@pytest.mark.parametrize("counts", [(4, 3), (3, 2, 3), (2, 1, 2, 1), (1, 1, 1, 1, 1)])
def test_search_finds_what_all_matrices_give(counts: tuple[int, ...]) -> None:
    reference: dict[Pair, dict[str, float]] = {}
    for matrix in every_matrix(counts):
        reference[pair(matrix)] = {name: function(matrix) for name, function in REFERENCE.items()}
    every = list(reference.values())
    rng = np.random.default_rng(len(counts))
    subsets = [["uf1"], ["f1"], ["precision"], ["weighted_f1"]]
    subsets += [list(rng.choice(FIGURES, rng.integers(2, 5), replace=False)) for _ in range(40)]
    found_some = 0
    for names in subsets:
        values = every[rng.integers(len(every))]
        width = rng.choice([1e-6, 0.01, 0.1])
        intervals = {
            name: Interval(values[name] - width * rng.random(), values[name] + width * rng.random())
            for name in names
        }
        if rng.random() < 0.3:  # most often without a solution
            intervals[names[0]] = Interval(values[names[0]] + 1e-7, values[names[0]] + 0.01)
        expected = {
            key
            for key, its in reference.items()
            if all(intervals[name].holds(np.array([its[name]]))[0] for name in names)
        }
        found = search(counts, intervals)
        assert found.complete
        if found.columns is None:
            got = [tuple(diagonal) for diagonal in found.diagonals.tolist()]
            assert set(got) == {diagonal for diagonal, _ in expected}, names
        else:
            both = zip(found.diagonals.tolist(), found.columns.tolist(), strict=True)
            got = [(tuple(diagonal), tuple(columns)) for diagonal, columns in both]
            assert set(got) == expected, names
        assert len(got) == len(set(got)), "each once"
        found_some += bool(got)
    assert found_some > 20


@pytest.mark.parametrize("rounding", ["rounded", "truncated"])
@pytest.mark.parametrize("counts", [[250, 109, 83], [88, 32, 25], [120, 66], [40, 30, 20, 10]])
def test_the_matrix_that_was_printed_is_found(counts: list[int], rounding: Rounding) -> None:
    rng = np.random.default_rng(sum(counts))
    for _ in range(3):
        matrix = random_matrix(rng, counts)
        printed = {}
        for name in ("accuracy", "f1", "uf1", "uar", "precision"):
            value = REFERENCE[name](matrix)
            printed[name] = f"{value if rounding == 'rounded' else np.floor(value * 1e4) / 1e4:.4f}"
        found = search(counts, {name: printed_interval(text, rounding) for name, text in printed.items()})
        assert found.columns is not None
        both = zip(found.diagonals.tolist(), found.columns.tolist(), strict=True)
        assert pair(matrix) in {(tuple(diagonal), tuple(columns)) for diagonal, columns in both}
        for name in printed:
            low, high = found.span(name) or (1, 0)
            assert low <= REFERENCE[name](matrix) + 1e-12
            assert high >= REFERENCE[name](matrix) - 1e-12


def test_a_search_that_stops_early_says_so() -> None:
    figures = {"uf1": printed_interval("0.60")}
    some = search([30, 20, 10], figures, most_solutions=5)
    assert len(some) >= 5
    assert not some.complete
    assert not search([30, 20, 10], figures, most_work=1).complete
    whole = search([30, 20, 10], figures)
    assert whole.complete
    assert len(whole) > len(some)


def test_intervals_of_printed_figures() -> None:
    assert printed_interval("0.5280") == Interval(0.52795, 0.52805)
    assert printed_interval("52.8%") == printed_interval("0.528")
    assert printed_interval("0.528").high > printed_interval("0.5280").high
    truncated = printed_interval("0.7186", "truncated")
    assert truncated.holds(np.array([0.71850, 0.7186, 0.71869, 0.7187])).tolist() == [
        False,
        True,
        True,
        False,
    ]
    with pytest.raises(MerError, match=r"76\.92 is not in 0\.\.1; write a percentage with its sign"):
        printed_interval("76.92")
    for text in ("high", "", "-0.1", "1e-3", "%"):
        with pytest.raises(MerError, match="is no printed figure"):
            printed_interval(text)


def test_whole_clips() -> None:
    for clips in (1, 7, 186):
        for correct in range(clips + 1):
            assert correct in correct_clips(printed_interval(f"{correct / clips:.4f}"), clips)
    assert list(correct_clips(printed_interval("0.5"), 10)) == [5]
    assert list(correct_clips(printed_interval("0.6"), 19)) == [11, 12]


@pytest.mark.parametrize(
    ("counts", "figures", "message"),
    [
        ([10], ["uf1"], "2 to 5 classes"),
        ([1] * 6, ["uf1"], "2 to 5 classes"),
        ([4, 0], ["uf1"], "at least one clip"),
        ([4, 3], [], "no figure to check"),
        ([4, 3], ["auc"], "auc: no such figure"),
    ],
)
def test_bad_input(counts: list[int], figures: list[str], message: str) -> None:
    with pytest.raises(MerError, match=message):
        search(counts, {name: Interval(0, 1) for name in figures})
