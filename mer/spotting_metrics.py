"""Scores of spotting: which frames lie inside an expression, and where an expression begins and ends.

Frames are scored by the area under the ROC curve. Intervals are scored as the field does it (MEGC since
2019): a spotted interval hits a true one where their intersection is at least half of their union; hits,
misses and false alarms are pooled over all videos before precision, recall and F1 are taken.

Intervals are rows [onset, offset] of frame numbers, both ends included. Needs numpy and SciPy only.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "false_alarms_per_minute",
    "frame_auc",
    "interval_scores",
    "iou",
    "match",
    "roc_curve",
    "spot",
]


def roc_curve(
    inside: ArrayLike, score: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve of frames: a point a threshold; frames of equal score share one.

    Args:
        inside: (N,) bool, whether a frame lies inside an expression; N may be 0.
        score: (N,) finite, higher is more expression.

    Returns:
        (false positive rate, true positive rate, thresholds), each (P,), from (0, 0) at the threshold inf to
        (1, 1) at the least score; a frame at a threshold counts as spotted. A rate whose frames there are
        none of is nan.

    Raises:
        ValueError: unequal lengths, not one-dimensional, ``inside`` not bool, or a score that is not finite.

    >>> false_positive_rate, true_positive_rate, thresholds = roc_curve([True, False, True], [0.9, 0.5, 0.5])
    >>> false_positive_rate.tolist(), true_positive_rate.tolist(), thresholds.tolist()
    ([0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [inf, 0.9, 0.5])
    """
    positive, scores = _frames(inside, score)
    order = np.argsort(-scores, kind="stable")
    positive, scores = positive[order], scores[order]
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # the last frame of each score
    hits = np.concatenate([[0], np.cumsum(positive)[last]])
    alarms = np.concatenate([[0], last + 1]) - hits
    thresholds = np.concatenate([[np.inf], scores[last]])
    return _rate(alarms), _rate(hits), thresholds


def frame_auc(inside: ArrayLike, score: ArrayLike) -> float:
    """The area under the ROC curve: how often a frame inside scores above one outside; ties count half.

    Args:
        inside: (N,) bool; N may be 0.
        score: (N,) finite, higher is more expression.

    Returns:
        0..1; nan where all frames lie inside, or all outside.

    Raises:
        ValueError: as `roc_curve`.

    >>> frame_auc([True, False, True, False], [0.9, 0.5, 0.5, 0.1])
    0.875
    """
    false_positive_rate, true_positive_rate, _ = roc_curve(inside, score)
    # Not np.trapezoid: older numpy calls it trapz.
    heights = (true_positive_rate[1:] + true_positive_rate[:-1]) / 2
    area = np.diff(false_positive_rate) @ heights
    return float(area) if len(heights) else float("nan")


def spot(
    score: ArrayLike,
    frames: ArrayLike,
    *,
    threshold: float = 0.5,
    relative: bool = False,
    smoothing: float = 1,
    reach: float = 0.75,
    least: float = 1,
    greatest: float = np.inf,
) -> NDArray[np.int64]:
    """The intervals that a video's curve spots: around its peaks.

    The curve is smoothed. Each of its peaks at or above the threshold gives an interval: the frames around
    it down to ``reach`` of its prominence (the height above the higher of the two valleys beside it, SciPy's
    ``peak_prominences``). The curve is taken to fall to its lowest value before the first frame and after
    the last, so a video that begins or ends high has a peak there, and a constant curve has none. Intervals
    that overlap, or between which the video has no frame, become one. Those that last less than ``least`` or
    more than ``greatest`` are then left out.

    Args:
        score: (T,) finite, higher is more expression; T may be 0.
        frames: (T,) frame numbers, increasing. Numbers may be missing: window and durations count numbers,
            and what is not there has no part in a mean.
        threshold: least height of a peak; with ``relative``, p of Moilanen et al. 2014:
            mean + p (max - mean) of the smoothed curve.
        relative: see ``threshold``. The highest peak of every video then counts, however low it is.
        smoothing: length of the window, in frames, of a moving mean; up to 1 there is none. At the ends, and
            where the video is shorter, the mean is of the frames that are there.
        reach: between 0 and 1.
        least: frames.
        greatest: frames.

    Returns:
        (n, 2) onset and offset, frame numbers, both included, in order; the intervals are apart.

    Raises:
        ValueError: unequal lengths, a score that is not finite, frames that do not increase, or an option
            that is out of range.

    >>> spot([0, 0, 0.3, 0.6, 0.9, 0.6, 0.3, 0, 0], range(10, 19)).tolist()
    [[12, 16]]
    """
    if not (np.isfinite(threshold) and smoothing >= 0 and 0 < reach < 1):
        raise ValueError(f"threshold={threshold}, smoothing={smoothing}, reach={reach}: out of range")
    if not least <= greatest:
        raise ValueError(f"least={least}, greatest={greatest}: an interval cannot be both")
    numbers = np.asarray(frames)
    curve = np.asarray(score, dtype=np.float64)
    if numbers.ndim != 1 or numbers.shape != curve.shape:
        raise ValueError(f"{numbers.shape} frames and {curve.shape} scores: one of each is needed a frame")
    if not np.isfinite(curve).all():
        raise ValueError("a score is not finite")
    if len(numbers) == 0:
        return np.empty((0, 2), np.int64)
    if not np.issubdtype(numbers.dtype, np.integer) or (np.diff(numbers) <= 0).any():
        raise ValueError("frames are not whole numbers that increase")
    # SciPy takes a second to import, which the frames' scores do without.
    from scipy.signal import find_peaks, peak_widths

    curve = _smooth(curve, numbers, smoothing)
    if relative:
        threshold = curve.mean() + threshold * (curve.max() - curve.mean())
    padded = np.pad(curve, 1, constant_values=curve.min())
    peaks, _ = find_peaks(padded, height=threshold)
    left, right = peak_widths(padded, peaks, rel_height=reach)[2:]
    # The frames that are at or above the level: it is crossed between two.
    first, last = np.ceil(left).astype(np.int64) - 1, np.floor(right).astype(np.int64) - 1
    first, last = _merge(first, last)
    found = np.stack([numbers[first], numbers[last]], axis=1).astype(np.int64)
    lasts = found[:, 1] - found[:, 0] + 1
    # Durations in seconds need not come out as whole frames.
    kept: NDArray[np.int64] = found[(lasts >= least - 1e-9) & (lasts <= greatest + 1e-9)]
    return kept


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each interval of ``a`` with each of ``b``, in frames.

    Args:
        a: (n, 2) onset and offset, both included; n may be 0.
        b: (m, 2), like ``a``.

    Returns:
        (n, m), 0..1.

    Raises:
        ValueError: another shape, or an offset before its onset.

    >>> iou([[1, 10]], [[1, 10], [6, 15], [11, 20]]).round(3).tolist()
    [[1.0, 0.333, 0.0]]
    """
    first, second = _intervals("a", a), _intervals("b", b)
    onset = np.maximum(first[:, None, 0], second[None, :, 0])
    offset = np.minimum(first[:, None, 1], second[None, :, 1])
    both = np.maximum(offset - onset + 1, 0)
    lengths = [each[:, 1] - each[:, 0] + 1 for each in (first, second)]
    shares: NDArray[np.float64] = both / (lengths[0][:, None] + lengths[1][None, :] - both)
    return shares


def match(true: ArrayLike, found: ArrayLike, least_iou: float = 0.5) -> tuple[int, int, int]:
    """Hits, false alarms and misses of one video: each interval is paired once, for the most hits.

    True intervals may overlap; then one found interval hits one of them only.

    Args:
        true: (n, 2) onset and offset, both included.
        found: (m, 2), like ``true``.
        least_iou: of a hit, above 0 and up to 1.

    Returns:
        (true positives, false positives, false negatives); n = tp + fn, m = tp + fp.

    Raises:
        ValueError: as `iou`; or ``least_iou`` out of range.

    >>> match([[10, 19], [40, 49]], [[12, 21], [14, 23], [80, 89]])
    (1, 2, 1)
    """
    if not 0 < least_iou <= 1:
        raise ValueError(f"least_iou={least_iou}: above 0 and up to 1 is needed")
    from scipy.optimize import linear_sum_assignment

    hit = iou(true, found) >= least_iou
    rows, columns = linear_sum_assignment(hit, maximize=True)
    hits = int(hit[rows, columns].sum())
    return hits, hit.shape[1] - hits, hit.shape[0] - hits


def interval_scores(tp: int, fp: int, fn: int) -> dict[str, float]:
    """Precision, recall and F1 of pooled intervals.

    Where nothing was found, precision is 0 as long as there was something to find. Where there was nothing
    to find, recall is nan, precision and F1 are 0 if something was found and nan if nothing was.

    Args:
        tp: hits, over all videos.
        fp: false alarms.
        fn: misses.

    Returns:
        ``precision`` = tp / (tp + fp), ``recall`` = tp / (tp + fn), ``f1`` = 2 tp / (2 tp + fp + fn).

    >>> interval_scores(3, 1, 2)
    {'precision': 0.75, 'recall': 0.6, 'f1': 0.6666666666666666}
    >>> interval_scores(0, 0, 2)["precision"]
    0.0
    """
    nothing = float("nan")
    return {
        "precision": tp / (tp + fp) if tp + fp else (0.0 if fn else nothing),
        "recall": tp / (tp + fn) if tp + fn else nothing,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else nothing,
    }


def false_alarms_per_minute(alarms: ArrayLike, seconds: ArrayLike) -> float:
    """Intervals that were spotted in videos without an expression, a minute of them.

    Args:
        alarms: (videos,) intervals found in each.
        seconds: (videos,) how long each lasts, above 0.

    Returns:
        0 or more; nan where there is no such video.

    Raises:
        ValueError: unequal lengths, or a video that does not last.

    >>> false_alarms_per_minute([0, 2], [20, 40])
    2.0
    """
    counts, lasts = np.asarray(alarms, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if counts.shape != lasts.shape or not (lasts > 0).all():
        raise ValueError(f"{counts.shape} counts and {lasts.shape} durations: one above 0 a video is needed")
    return float(60 * counts.sum() / lasts.sum()) if lasts.size else float("nan")


def _frames(inside: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive, scores = np.asarray(inside), np.asarray(score, dtype=np.float64)
    if positive.size == 0:
        positive = positive.astype(np.bool_)
    if positive.dtype != np.bool_:
        raise ValueError(f"inside has type {positive.dtype}: bool is needed")
    if positive.ndim != 1 or positive.shape != scores.shape:
        raise ValueError(f"inside has shape {positive.shape}, score {scores.shape}: (N,) of both is needed")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return positive, scores


def _rate(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts / counts[-1] if counts[-1] else np.full(len(counts), np.nan)


def _smooth(curve: NDArray[np.float64], numbers: NDArray[np.int64], window: float) -> NDArray[np.float64]:
    """The mean of the frames whose numbers are within the window around each."""
    if window <= 1:
        return curve
    half = (window - 1) / 2
    first = np.searchsorted(numbers, numbers - half, side="left")
    end = np.searchsorted(numbers, numbers + half, side="right")
    # From the lowest value: what is constant stays so to the last bit, and grows no peaks.
    base = curve.min()
    sums = np.concatenate([[0.0], np.cumsum(curve - base)])
    smoothed: NDArray[np.float64] = base + (sums[end] - sums[first]) / (end - first)
    return smoothed


def _merge(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intervals of positions, both ends included; those that overlap or touch as one."""
    order = np.argsort(first, kind="stable")
    first, last = first[order], np.maximum.accumulate(last[order])
    begins = np.ones(len(first), np.bool_)
    begins[1:] = first[1:] > last[:-1] + 1
    return first[begins], last[np.append(begins[1:], True)] if len(first) else last


def _intervals(name: str, value: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.size == 0:
        return np.empty((0, 2), np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}: (n, 2) integers are needed")
    if (array[:, 1] < array[:, 0]).any():
        raise ValueError(f"{name} has an offset before its onset")
    return array
