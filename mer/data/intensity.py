"""What spotting is trained on and shows: the intensity of expressions over time, and the states it passes.

The paper (Time-contrasted network with visual memory) names both and defines neither: the curve from
onset, apex and offset, and the thresholds of the states, are ours.
"""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer.errors import MerError

STATES = ("neutral", "onset", "onset-apex", "apex", "apex-offset", "offset")
UNDEFINED = -1  # in place of a state, where the intensity is NaN


def true_intensity(
    frames: ArrayLike, onset: ArrayLike, apex: ArrayLike, offset: ArrayLike
) -> NDArray[np.float32]:
    """How far the annotated expressions have gone at each frame: linear from onset to apex to offset.

    Args:
        frames: (T,) frame numbers, in any order.
        onset, apex, offset: frame numbers of one expression, or (E,) of several; empty for none. An apex
            that is unknown is NaN, or NA in a column of a table.

    Returns:
        (T,) 0..1: 0 outside [onset, offset]; at onset and offset too, unless the apex is there; 1 at the
        apex. NaN inside an expression whose apex is unknown, unless it has one frame, which is its apex.
        Of expressions that overlap the maximum; NaN where that depends on an unknown one.

    Raises:
        MerError: numbers that decrease, an onset or offset that is missing, or unequal shapes.
    """
    number = np.asarray(frames, float)
    first, top, last = (_column(*named) for named in (("onset", onset), ("apex", apex), ("offset", offset)))
    if not len(first) == len(top) == len(last):
        raise MerError(f"intensity: {len(first)} onsets, {len(top)} apexes and {len(last)} offsets")
    top = np.where(first == last, first, top)
    wrong = ~(first <= last) | (first > top) | (top > last)
    if wrong.any():
        one = int(np.flatnonzero(wrong[:, 0])[0])
        raise MerError(
            f"intensity: expression {one} has onset {first[one, 0]:g}, apex {top[one, 0]:g}, offset "
            f"{last[one, 0]:g}; onset and offset must be known and the three must not decrease"
        )
    # A part of length 0 holds the apex alone, which has 1 whatever it is divided by.
    rise = (number - first) / np.where(top > first, top - first, 1)
    fall = (last - number) / np.where(last > top, last - top, 1)
    curve = np.where(number < top, rise, fall)
    curve = np.where(number == top, 1.0, curve)
    curve = np.where(np.isnan(top), np.nan, curve)
    curve = np.where((number >= first) & (number <= last), curve, 0.0)
    # The maximum is NaN where one of several is, but more than 1 it cannot be.
    highest = curve.max(axis=0, initial=0.0)
    return np.where((curve == 1).any(axis=0), 1.0, highest).astype(np.float32)


def inside(frames: ArrayLike, expressions: ArrayLike) -> NDArray[np.bool_]:
    """Which frames lie in an expression, its onset and offset included.

    Args:
        frames: (T,) frame numbers.
        expressions: (E, 2) the onset and offset of each, such as ``table[["onset", "offset"]]``; or empty.

    Returns:
        (T,) bool.

    Raises:
        MerError: another shape, a number that is missing, or an offset before its onset.
    """
    pairs = np.asarray(expressions, float)
    if pairs.size == 0:
        pairs = pairs.reshape(0, 2)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not (pairs[:, 0] <= pairs[:, 1]).all():
        raise MerError(f"expressions {pairs.tolist()}: give (E, 2) numbers, each an onset and its offset")
    number = np.asarray(frames, float)
    return cast(NDArray[np.bool_], ((number >= pairs[:, :1]) & (number <= pairs[:, 1:])).any(axis=0))


def states(
    intensity: ArrayLike, *, low: float = 0.1, half: float = 0.5, high: float = 0.9, flat: float = 0.0
) -> NDArray[np.int8]:
    """The state of the face at each frame, by intensity and slope; the thresholds are ours.

    The slope is half the difference between the next and the last intensity, at the ends the difference to
    the one neighbour. Read backwards in time, onset and offset, onset-apex and apex-offset change places.

    Args:
        intensity: (T,) true or predicted, 0..1, of consecutive frames; NaN where it is undefined.
        low: up to it, the face is neutral whatever the slope.
        half: from it on, a rise is onset-apex and a fall is apex-offset; below, onset and offset.
        high: from it on, the state is apex whatever the slope.
        flat: slopes (a frame) of at most this size neither rise nor fall: such a frame is apex from
            ``half`` on, and neutral below.

    Returns:
        (T,) positions in ``STATES``; ``UNDEFINED`` where the intensity is NaN.

    Raises:
        MerError: thresholds that are not 0 <= low < half < high <= 1, or flat < 0.
    """
    if not (0 <= low < half < high <= 1 and flat >= 0):
        raise MerError(
            f"states: low={low}, half={half}, high={high}, flat={flat}: "
            "give 0 <= low < half < high <= 1 and flat >= 0"
        )
    level = np.asarray(intensity, np.float32)
    slope = np.gradient(level) if len(level) > 1 else np.zeros_like(level)
    upper = level >= half
    # The first that holds counts. A slope beside NaN is none.
    conditions = [np.isnan(level), level <= low, level >= high, slope > flat, slope < -flat]
    choices = [
        np.full(level.shape, UNDEFINED),
        np.full(level.shape, STATES.index("neutral")),
        np.full(level.shape, STATES.index("apex")),
        np.where(upper, STATES.index("onset-apex"), STATES.index("onset")),
        np.where(upper, STATES.index("apex-offset"), STATES.index("offset")),
    ]
    level_part = np.where(upper, STATES.index("apex"), STATES.index("neutral"))
    return np.select(conditions, choices, level_part).astype(np.int8)


def _column(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """(E, 1), missing values as NaN."""
    array = np.asarray(values, float)
    if array.ndim > 1:
        raise MerError(
            f"intensity: {name} has the shape {array.shape}; give one number, or one an expression"
        )
    return array.reshape(-1, 1)
