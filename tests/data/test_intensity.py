import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike, NDArray

from mer.data.intensity import STATES, UNDEFINED, inside, states, true_intensity
from mer.errors import MerError

NAN = float("nan")


def named(places: NDArray[np.int8]) -> list[str]:
    return [STATES[place] if place >= 0 else "-" for place in places.tolist()]


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "expected"),
    [
        (2, 4, 8, [0, 0, 0, 1 / 2, 1, 3 / 4, 2 / 4, 1 / 4, 0, 0]),
        (2, 2, 4, [0, 0, 1, 1 / 2, 0, 0, 0, 0, 0, 0]),  # the apex is the onset
        (2, 6, 6, [0, 0, 0, 1 / 4, 2 / 4, 3 / 4, 1, 0, 0, 0]),  # the apex is the offset
        (5, 5, 5, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (5, NAN, 5, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),  # its only frame is its apex
        (2, NAN, 4, [0, 0, NAN, NAN, NAN, 0, 0, 0, 0, 0]),
        ([], [], [], [0] * 10),
        ([1, 4], [3, 6], [5, 8], [0, 0, 1 / 2, 1, 1 / 2, 1 / 2, 1, 1 / 2, 0, 0]),
        # Unknown where it may be the higher one; where the known one is at its apex, none is higher.
        ([1, 4], [NAN, 5], [5, 7], [0, NAN, NAN, NAN, NAN, 1, 1 / 2, 0, 0, 0]),
    ],
)
def test_intensity_by_hand(
    onset: ArrayLike, apex: ArrayLike, offset: ArrayLike, expected: list[float]
) -> None:
    curve = true_intensity(np.arange(10), onset, apex, offset)
    assert curve.dtype == np.float32
    np.testing.assert_array_equal(curve, np.array(expected, np.float32))


def test_frames_may_have_gaps_and_any_order() -> None:
    np.testing.assert_array_equal(
        true_intensity([104, 100, 102], 100, 104, 110), np.array([1, 0, 0.5], np.float32)
    )
    np.testing.assert_array_equal(inside([104, 100, 102], [[100, 102]]), [False, True, True])


def test_intensity_identities() -> None:
    """Of random expressions: 1 at each apex, the maximum of single ones, and its own mirror image."""
    rng = np.random.default_rng(0)
    frames = np.arange(60)
    for count in (1, 2, 3):
        numbers = np.sort(rng.integers(0, 60, (50, count, 3)), axis=2)
        for onset, apex, offset in np.moveaxis(numbers, 2, 1):
            curve = true_intensity(frames, onset, apex, offset)
            assert (curve[apex] == 1).all()
            assert curve.min() >= 0
            assert curve.max() == 1
            pairs = np.stack([onset, offset], axis=1)
            assert not curve[~inside(frames, pairs)].any()
            single = [true_intensity(frames, *one) for one in zip(onset, apex, offset, strict=True)]
            np.testing.assert_array_equal(curve, np.max(single, axis=0))
            mirrored = true_intensity(frames, 59 - offset, 59 - apex, 59 - onset)
            np.testing.assert_array_equal(curve, mirrored[::-1])


def test_the_columns_of_a_table_will_do() -> None:
    table = pd.DataFrame({"onset": [1, 5], "apex": [2, pd.NA], "offset": [3, 6]}, dtype="Int64")
    curve = true_intensity(range(8), table["onset"], table["apex"], table["offset"])
    np.testing.assert_array_equal(curve, np.array([0, 0, 1, 0, 0, NAN, NAN, 0], np.float32))
    np.testing.assert_array_equal(
        inside(range(8), table[["onset", "offset"]]), [False, True, True, True, False, True, True, False]
    )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((5, 4, 6), "expression 0 has onset 5, apex 4, offset 6; .* must not decrease"),
        (([0, 5], [NAN, NAN], [1, 4]), "expression 1 has onset 5, apex nan, offset 4"),
        ((NAN, 4, 6), "onset and offset must be known"),
        (([1, 2], [3], [4, 5]), "2 onsets, 1 apexes and 2 offsets"),
        (([[1]], 2, 3), r"onset has the shape \(1, 1\)"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    numbers: tuple[ArrayLike, ArrayLike, ArrayLike], message: str
) -> None:
    with pytest.raises(MerError, match=message):
        true_intensity(range(9), *numbers)


def test_inside_by_hand() -> None:
    frames = np.arange(6)
    assert inside(frames, []).tolist() == inside(frames, np.empty((0, 2))).tolist() == [False] * 6
    assert inside(frames, [[1, 2], [2, 4]]).tolist() == [False, True, True, True, True, False]
    assert inside(frames, [[3, 3]]).tolist() == [False, False, False, True, False, False]
    for wrong in ([1, 2], [[1, 2, 3]], [[2, 1]], [[1, NAN]]):
        with pytest.raises(MerError, match=r"give \(E, 2\) numbers"):
            inside(frames, wrong)


def test_states_by_hand() -> None:
    curve = true_intensity(np.arange(14), 2, 6, 12)  # rises by 1/4 a frame, falls by 1/6
    expected = ["neutral"] * 3 + ["onset", "onset-apex", "onset-apex", "apex"]
    expected += ["apex-offset", "apex-offset", "apex-offset", "offset", "offset"] + ["neutral"] * 2
    assert named(states(curve)) == expected
    assert states(curve).dtype == np.int8


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([], []),
        ([0.3], ["neutral"]),  # no slope
        ([0.6], ["apex"]),
        ([0.0, 1.0, 0.0], ["neutral", "apex", "neutral"]),
        ([0.3, 0.3, 0.6, 0.6, 0.6], ["neutral", "onset", "onset-apex", "apex", "apex"]),
        ([0.1, 0.2, 0.1], ["neutral", "neutral", "neutral"]),  # flat at the top of a small hill
        ([0.2, 0.4, NAN, 0.4, 0.0], ["onset", "neutral", "-", "neutral", "neutral"]),
        ([NAN, NAN], ["-", "-"]),
    ],
)
def test_states_of_small_curves(curve: list[float], expected: list[str]) -> None:
    assert named(states(curve)) == expected
    assert UNDEFINED == -1


def test_each_threshold_does_what_it_says() -> None:
    curve = [0.0, 0.2, 0.4, 0.6, 0.8]
    assert named(states(curve)) == ["neutral", "onset", "onset", "onset-apex", "onset-apex"]
    assert named(states(curve, low=0.3)) == ["neutral", "neutral", "onset", "onset-apex", "onset-apex"]
    assert named(states(curve, half=0.3)) == ["neutral", "onset"] + ["onset-apex"] * 3
    assert named(states(curve, high=0.55)) == ["neutral", "onset", "onset", "apex", "apex"]
    assert named(states(curve, flat=0.21)) == ["neutral", "neutral", "neutral", "apex", "apex"]
    for wrong in ({"low": 0.5}, {"half": 0.9}, {"high": 1.1}, {"flat": -0.1}, {"low": -0.1}):
        with pytest.raises(MerError, match="give 0 <= low < half < high <= 1"):
            states(curve, **wrong)


def test_backwards_in_time_onset_and_offset_change_places() -> None:
    swapped = [STATES.index(name) for name in ("neutral", "offset", "apex-offset", "apex")]
    swapped += [STATES.index(name) for name in ("onset-apex", "onset")]
    rng = np.random.default_rng(1)
    curves: list[NDArray[np.floating]] = [
        rng.random(50),
        rng.integers(0, 5, 50) / 4,
        true_intensity(range(50), 7, 19, 40),
    ]
    for curve in curves:
        forwards = states(curve)
        assert len(set(forwards.tolist())) == len(STATES)
        backwards = np.asarray(swapped)[states(curve[::-1])][::-1]
        np.testing.assert_array_equal(forwards, backwards)
