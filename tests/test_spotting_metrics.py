"""Spotting scores: worked by hand, against scikit-learn, and frozen."""

import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from numpy.typing import NDArray

from mer.spotting_metrics import (
    false_alarms_per_minute,
    frame_auc,
    interval_scores,
    iou,
    match,
    roc_curve,
    spot,
)

FRAMES = np.arange(1, 401)


def bumps(*places: tuple[float, float, float]) -> NDArray[np.float64]:
    """A curve over FRAMES: triangles of (apex, half width, height) on 0."""
    triangles = [h * np.clip(1 - np.abs(FRAMES - a) / w, 0, None) for a, w, h in places]
    return np.asarray(np.maximum.reduce(triangles))


def frozen_curve() -> NDArray[np.float64]:
    """A noisy curve of 400 frames: four bumps on a slow wave."""
    noise = np.random.default_rng(20).normal(0, 0.04, len(FRAMES))
    places = bumps((60, 25, 0.8), (150, 14, 0.6), (171, 14, 0.7), (300, 40, 0.45))
    return np.asarray(0.1 + 0.05 * np.sin(FRAMES / 40) + places + noise)


# --- frames ---


@pytest.mark.parametrize("levels", [0, 7])  # no ties; many
@pytest.mark.parametrize("seed", range(4))
def test_roc_and_auc_are_scikit_learns(seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    inside = random.random(500) < 0.2
    score = random.normal(size=500) + inside
    score = np.round(score * levels) if levels else score
    rates = roc_curve(inside, score)
    reference = sklearn.metrics.roc_curve(inside, score, drop_intermediate=False)
    for ours, theirs in zip(rates, reference, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert frame_auc(inside, score) == pytest.approx(sklearn.metrics.roc_auc_score(inside, score), abs=1e-12)


def test_auc_counts_pairs() -> None:
    random = np.random.default_rng(5)
    inside, score = random.random(60) < 0.4, random.integers(0, 6, 60)
    pairs = list(itertools.product(score[inside], score[~inside]))
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    assert frame_auc(inside, score) == pytest.approx(wins / len(pairs), abs=1e-12)


def test_auc_of_order_only() -> None:
    inside = np.array([False, True, True, False, True])
    score = np.array([0.1, 0.4, 0.35, 0.8, 0.9], dtype=np.float32)
    once = frame_auc(inside, score)
    assert frame_auc(inside, np.exp(score)) == once
    assert frame_auc(~inside, score) == pytest.approx(1 - once)
    assert frame_auc(inside, np.zeros(5)) == 0.5
    assert frame_auc(inside, inside.astype(float)) == 1.0


def test_one_class_has_no_area() -> None:
    assert np.isnan(frame_auc([True, True], [0.1, 0.2]))
    assert np.isnan(frame_auc([False], [0.1]))
    assert np.isnan(frame_auc([], []))
    false_positive_rate, true_positive_rate, _ = roc_curve([True, True], [0.1, 0.2])
    assert np.isnan(false_positive_rate).all()
    assert true_positive_rate.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("inside", "score", "message"),
    [
        ([True, False], [0.1], r"\(2,\), score \(1,\)"),
        ([1, 0], [0.1, 0.2], "bool is needed"),
        ([True, False], [0.1, np.nan], "not finite"),
        ([[True]], [[0.1]], r"\(N,\) of both"),
    ],
)
def test_frames_that_do_not_fit(inside: Any, score: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_auc(inside, score)


# --- intervals from a curve ---


def test_a_triangle_is_cut_at_its_reach() -> None:
    # Height 0.8 at 100, 0 at 80 and 120: a quarter of it is reached 15 frames from the apex.
    curve = bumps((100, 20, 0.8))
    assert spot(curve, FRAMES).tolist() == [[85, 115]]
    assert spot(curve, FRAMES, reach=0.5).tolist() == [[90, 110]]


def test_the_threshold_is_of_the_peak() -> None:
    curve = bumps((100, 20, 0.5), (200, 20, 0.49))
    assert spot(curve, FRAMES, threshold=0.5).tolist() == [[85, 115]]
    assert len(spot(curve, FRAMES, threshold=0.49)) == 2


def test_the_relative_threshold_is_moilanens() -> None:
    curve = bumps((100, 20, 4.0), (200, 20, 2.0))
    mean = curve.mean()
    p = (2.0 - mean) / (4.0 - mean)  # where mean + p (max - mean) is the lower peak
    assert len(spot(curve, FRAMES, threshold=p - 1e-6, relative=True)) == 2
    assert spot(curve, FRAMES, threshold=p + 1e-6, relative=True).tolist() == [[85, 115]]
    # It follows the curve's scale and level.
    assert spot(7 * curve - 3, FRAMES, threshold=p + 1e-6, relative=True).tolist() == [[85, 115]]


def test_edges_are_peaks() -> None:
    curve = [0.9, 0.8, 0.1, 0.0, 0.0, 0.2, 0.9]
    assert spot(curve, range(7)).tolist() == [[0, 1], [6, 6]]
    assert spot([0.9, 0.9, 0.9, 0.0], range(4)).tolist() == [[0, 2]]


def test_plateaus_are_one_peak() -> None:
    curve = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert spot(curve, range(8)).tolist() == [[2, 5]]


@pytest.mark.parametrize("value", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("relative", [False, True])
def test_a_constant_curve_has_no_peak(value: float, relative: bool) -> None:
    for smoothing in (1, 7, 90):
        assert len(spot(np.full(50, value), range(50), smoothing=smoothing, relative=relative)) == 0


def test_short_videos() -> None:
    for relative in (False, True):
        empty = spot([], [], smoothing=9, relative=relative)
        assert empty.shape == (0, 2)
        assert empty.dtype == np.int64
        assert len(spot([0.9], [4], smoothing=9, relative=relative)) == 0
    assert spot([0.1, 0.9], [4, 5]).tolist() == [[5, 5]]
    # A window longer than the video makes its curve constant.
    assert len(spot([0.1, 0.9], [4, 5], smoothing=9)) == 0


def test_smoothing_is_a_mean_over_frame_numbers() -> None:
    # A window of 3: (0 + 0.9 + 0) / 3 = 0.3 for three frames.
    curve = [0, 0, 0, 0.9, 0, 0, 0]
    assert len(spot(curve, range(7), smoothing=3, threshold=0.31)) == 0
    assert spot(curve, range(7), smoothing=3, threshold=0.29).tolist() == [[2, 4]]
    # With every second frame alone, the window holds one frame: nothing is smoothed.
    assert spot(curve, range(0, 14, 2), smoothing=3, threshold=0.89).tolist() == [[6, 6]]
    # At an end the mean is of two frames: 0.45.
    assert spot([0.9, 0, 0, 0], range(4), smoothing=3, threshold=0.44).tolist() == [[0, 1]]


def test_missing_frames_count_in_a_duration() -> None:
    curve = [0, 0.5, 1, 0.5, 0]
    frames = [1, 2, 3, 8, 9]
    assert spot(curve, frames).tolist() == [[2, 8]]
    assert spot(curve, frames, least=7, greatest=7).tolist() == [[2, 8]]
    assert len(spot(curve, frames, greatest=6)) == 0
    assert len(spot(curve, frames, least=8)) == 0


def test_humps_of_one_hill_are_merged() -> None:
    # The valley at 0.6 is above a quarter of the higher peak; the lower peak lies inside its interval.
    curve = [0, 0.4, 1.0, 0.6, 0.8, 0.4, 0]
    assert spot(curve, range(7)).tolist() == [[1, 5]]
    # Two of prominence 1 that meet: nothing lies between 2 and 3.
    assert spot([0, 1, 0.2, 0.0, 0.2, 1, 0], range(7)).tolist() == [[1, 1], [5, 5]]
    assert spot([0, 1, 0.3, 0.3, 1, 0], range(6)).tolist() == [[1, 4]]


def test_durations_are_of_merged_intervals() -> None:
    curve = [0, 0.4, 1.0, 0.6, 0.8, 0.4, 0]
    assert len(spot(curve, range(7), greatest=4)) == 0
    assert spot(curve, range(7), least=5, greatest=5).tolist() == [[1, 5]]


def test_found_intervals_are_apart_and_in_order() -> None:
    for seed in range(20):
        curve = np.random.default_rng(seed).random(200)
        found = spot(curve, range(200), threshold=0.6, smoothing=seed % 5)
        assert (found[:, 1] >= found[:, 0]).all()
        assert (found[1:, 0] > found[:-1, 1] + 1).all()


def test_the_curve_reversed_in_time_gives_the_intervals_reversed() -> None:
    curve = frozen_curve()
    found = spot(curve, FRAMES, smoothing=7)
    again = spot(curve[::-1], FRAMES, smoothing=7)
    np.testing.assert_array_equal(401 - again[::-1, ::-1], found)


@pytest.mark.parametrize(
    ("score", "frames", "options", "message"),
    [
        ([0.1], [1, 2], {}, r"\(2,\) frames and \(1,\) scores"),
        ([0.1, np.inf], [1, 2], {}, "not finite"),
        ([0.1, 0.2], [2, 2], {}, "increase"),
        ([0.1, 0.2], [1.0, 2.0], {}, "whole numbers"),
        ([0.1], [1], {"reach": 1.0}, "reach=1.0: out of range"),
        ([0.1], [1], {"smoothing": -1}, "smoothing=-1"),
        ([0.1], [1], {"least": 3, "greatest": 2}, "least=3, greatest=2"),
    ],
)
def test_curves_that_do_not_fit(score: Any, frames: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spot(score, frames, **options)


# --- intervals against intervals ---


def test_iou_counts_frames() -> None:
    random = np.random.default_rng(0)
    onsets = random.integers(0, 40, 30)
    intervals = np.stack([onsets, onsets + random.integers(0, 20, 30)], axis=1)
    a, b = intervals[:12], intervals[12:]
    sets = [set(range(on, off + 1)) for on, off in intervals.tolist()]
    expected = [[len(x & y) / len(x | y) for y in sets[12:]] for x in sets[:12]]
    np.testing.assert_allclose(iou(a, b), expected, rtol=0, atol=1e-15)
    assert iou([], [[1, 2]]).shape == (0, 1)
    assert iou([[1, 2]], []).shape == (1, 0)


def test_half_is_a_hit() -> None:
    # 20 frames of which 10: IoU 10 / 20.
    assert match([[1, 20]], [[1, 10]]) == (1, 0, 0)
    assert match([[1, 21]], [[1, 10]]) == (0, 1, 1)


def test_the_most_pairs_are_made() -> None:
    # The first found one hits both, the second hits the first only: in order, one pair would be made.
    true, found = [[10, 29], [16, 35]], [[13, 32], [4, 23]]
    assert (iou(true, found) >= 0.5).tolist() == [[True, True], [True, False]]
    assert match(true, found) == (2, 0, 0)


def test_a_found_interval_hits_one_of_two_that_overlap() -> None:
    assert match([[10, 29], [12, 31]], [[11, 30]]) == (1, 0, 1)
    assert match([[11, 30]], [[10, 29], [12, 31]]) == (1, 1, 0)


@pytest.mark.parametrize("seed", range(6))
def test_match_is_the_best_of_all_pairings(seed: int) -> None:
    random = np.random.default_rng(seed)
    onsets = random.integers(0, 25, 9)
    intervals = np.stack([onsets, onsets + random.integers(5, 20, 9)], axis=1)
    true, found = intervals[:4], intervals[4:]
    hit = iou(true, found) >= 0.4
    best = max(sum(hit[k, p] for k, p in enumerate(order)) for order in itertools.permutations(range(5), 4))
    assert match(true, found, 0.4) == (best, 5 - best, 4 - best)


def test_nothing_to_match() -> None:
    assert match([], []) == (0, 0, 0)
    assert match([[1, 2]], []) == (0, 0, 1)
    assert match([], [[1, 2], [5, 6]]) == (0, 2, 0)
    with pytest.raises(ValueError, match="least_iou=0"):
        match([[1, 2]], [[1, 2]], 0)
    with pytest.raises(ValueError, match="a has an offset before its onset"):
        match([[2, 1]], [])
    with pytest.raises(ValueError, match=r"b has shape \(2,\)"):
        match([[1, 2]], [3, 4])


def test_scores_without_a_denominator() -> None:
    assert interval_scores(0, 0, 2) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    nothing_true = interval_scores(0, 2, 0)
    assert (nothing_true["precision"], nothing_true["f1"]) == (0.0, 0.0)
    assert np.isnan(nothing_true["recall"])
    assert np.isnan(list(interval_scores(0, 0, 0).values())).all()


def test_f1_is_the_harmonic_mean() -> None:
    scores = interval_scores(7, 3, 5)
    assert scores["f1"] == pytest.approx(2 / (1 / scores["precision"] + 1 / scores["recall"]), abs=1e-15)


def test_false_alarms_are_pooled_over_the_time() -> None:
    assert false_alarms_per_minute([3, 0, 1], [30, 60, 30]) == 2.0
    assert np.isnan(false_alarms_per_minute([], []))
    with pytest.raises(ValueError, match="above 0"):
        false_alarms_per_minute([1], [0])


# --- frozen ---

TRUE = np.array([[42, 80], [139, 160], [161, 183], [270, 340]])
FROZEN: list[tuple[dict[str, Any], list[list[int]], tuple[int, int, int]]] = [
    ({"threshold": 0.4, "smoothing": 9}, [[39, 81], [139, 181], [265, 337]], (3, 0, 1)),
    (
        {"threshold": 0.45, "relative": True, "smoothing": 9},
        [[39, 81], [139, 181], [265, 337]],
        (3, 0, 1),
    ),
    (
        {"threshold": 0.4, "smoothing": 9, "reach": 0.5, "greatest": 50},
        [[46, 74], [145, 154], [163, 178]],
        (2, 1, 2),
    ),
    ({"threshold": 0.4, "least": 10}, [[41, 82], [143, 157], [160, 181], [265, 336]], (4, 0, 0)),
]


def test_frozen_auc() -> None:
    """What the scores gave when they were written: a change of theirs shows here."""
    inside = ((FRAMES[:, None] >= TRUE[:, 0]) & (FRAMES[:, None] <= TRUE[:, 1])).any(axis=1)
    assert frame_auc(inside, frozen_curve()) == pytest.approx(0.9788545095457538, abs=1e-12)


@pytest.mark.parametrize(("options", "intervals", "counts"), FROZEN)
def test_frozen_intervals(
    options: dict[str, Any], intervals: list[list[int]], counts: tuple[int, int, int]
) -> None:
    found = spot(frozen_curve(), FRAMES, **options)
    assert found.tolist() == intervals
    assert match(TRUE, found) == counts


def test_frozen_iou() -> None:
    best = iou(TRUE, FROZEN[0][1]).max(axis=1)
    np.testing.assert_allclose(best, [39 / 43, 22 / 43, 21 / 45, 68 / 76], rtol=0, atol=1e-12)
