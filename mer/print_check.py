"""Which whole-clip confusion matrices could have produced printed figures. Needs numpy only.

A score depends on a matrix through its diagonal t and its column sums c alone (the row sums are the class
counts n): accuracy = sum t / N, UAR = mean t / n, precision = mean t / c, UF1 = mean 2t / (n + c), and F1 is
the harmonic mean of precision and UAR (LAENet eq 7-14, see ``mer.metrics``). So the search runs over (t, c),
not over matrices: every diagonal that accuracy and UAR allow, then every c that a matrix with that diagonal
can have. The last two column sums follow from a quadratic: 442 clips in three classes take seconds.

A printed figure stands for an interval: half a unit of its last digit to both sides (rounded), or one unit
upwards (truncated). What is found is exact for one matrix over all clips. A mean over folds is no score of
such a matrix: nothing here can tell it from a misprint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mer.errors import MerError

Rounding = Literal["rounded", "truncated"]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

FIGURES = ("accuracy", "f1", "uf1", "uar", "precision", "weighted_f1")
CLASSES = range(2, 6)  # five classes can be searched where the figures leave few diagonals
MOST_SOLUTIONS = 100_000
MOST_WORK = 200_000_000  # candidates looked at: half a minute on one core
MOST_CLIPS = 10_000  # of a row; the papers have a few hundred
_MOST_ROWS = 10_000_000  # that are held at a time: a gigabyte
_CHUNK = 1_000_000
_A_LOOP = 5_000  # candidates that are looked at in the time that a loop takes by itself
_TINY = 1e-12  # scores of different matrices of a few hundred clips lie further apart


@dataclass(frozen=True)
class Interval:
    """The values that a printed figure stands for, both ends included."""

    low: float
    high: float

    def holds(self, values: Floats) -> NDArray[np.bool_]:
        """Which values are in it."""
        return (values >= self.low - _TINY) & (values <= self.high + _TINY)


@dataclass(frozen=True)
class Solutions:
    """The (diagonal, column sums) that give the figures; a pair stands for one matrix or more.

    ``columns`` is None where no figure depends on the column sums. Where the search stopped early, it is not
    ``complete``.
    """

    counts: Integers  # (K,)
    diagonals: Integers  # (S, K)
    columns: Integers | None  # (S, K)
    complete: bool
    work: int  # candidates that were looked at

    def __len__(self) -> int:
        return len(self.diagonals)

    def values(self, figure: str) -> Floats:
        """(S,) values of a figure; nan where it depends on column sums that were not searched."""
        return _figure(figure, self.counts, self.diagonals, self.columns)

    def span(self, figure: str) -> tuple[float, float] | None:
        """Smallest and largest value of a figure; None without a value."""
        values = self.values(figure)
        return (float(values.min()), float(values.max())) if values.size and not np.isnan(values[0]) else None


def printed_interval(text: str, rounding: Rounding = "rounded") -> Interval:
    """The interval of a printed figure in 0..1, or in percent with its sign.

    Raises:
        MerError: no number, or not in 0..1.

    >>> printed_interval("0.7692")
    Interval(low=0.76915, high=0.76925)
    >>> printed_interval("76.9%", "truncated").low
    0.769
    """
    number = text.removesuffix("%").strip()
    if not number.replace(".", "", 1).isdecimal():
        raise MerError(f"{text!r} is no printed figure; write it as 0.7692 or 76.92%")
    shift = 2 if text.endswith("%") else 0
    value = Decimal(number).scaleb(-shift)
    if not 0 <= value <= 1:
        raise MerError(f"{text} is not in 0..1; write a percentage with its sign, as in 76.92%")
    unit = Decimal(1).scaleb(-shift - len(number.partition(".")[2]))
    if rounding == "truncated":
        return Interval(float(value), float(value + unit) - 2 * _TINY)  # its end is the next figure
    return Interval(float(value - unit / 2), float(value + unit / 2))


def correct_clips(interval: Interval, clips: int) -> range:
    """The whole numbers k with k / clips in the interval.

    >>> correct_clips(printed_interval("74.43%"), 442), correct_clips(printed_interval("81.46%"), 247)
    (range(329, 330), range(202, 202))
    """
    low = int(np.ceil((interval.low - _TINY) * clips))
    high = int(np.floor((interval.high + _TINY) * clips))
    return range(max(low, 0), max(min(high, clips) + 1, max(low, 0)))


def search(
    counts: Sequence[int],
    figures: Mapping[str, Interval],
    *,
    most_solutions: int = MOST_SOLUTIONS,
    most_work: int = MOST_WORK,
) -> Solutions:
    """Every (diagonal, column sums) with these figures.

    Args:
        counts: clips a class, (K,), K in 2..5, each at least 1.
        figures: interval by name, of FIGURES.
        most_solutions: stop when as many are found.
        most_work: stop when as many candidates have been looked at.

    Raises:
        MerError: counts or figures that cannot be searched.
    """
    if len(counts) not in CLASSES or min(counts) < 1:
        raise MerError(
            f"counts={list(counts)}: 2 to 5 classes with at least one clip each are needed; an accuracy "
            "alone is checked with all clips as one number"
        )
    if sum(counts) > MOST_CLIPS:
        raise MerError(f"counts={list(counts)}: {sum(counts)} clips; at most {MOST_CLIPS} can be searched")
    if strange := figures.keys() - set(FIGURES):
        raise MerError(f"{min(strange)}: no such figure; there are {', '.join(FIGURES)}")
    if not figures:
        raise MerError(f"no figure to check; give one or more of {', '.join(FIGURES)}")
    clips = np.asarray(counts, dtype=np.int64)
    column_figures = [name for name in figures if name not in ("accuracy", "uar")]
    found: list[tuple[Integers, Integers | None]] = []
    solutions = work = 0
    complete = True
    for diagonals, looked_at in _diagonals(clips, figures):
        work += looked_at + _A_LOOP
        if diagonals is None:
            complete = False
            break
        step = max(1, _CHUNK // max(1, int(clips.sum()) ** (len(clips) - 2) // 4))
        for start in range(0, len(diagonals), step):
            part = diagonals[start : start + step]
            if column_figures:
                try:
                    part, columns, looked_at = _columns(
                        clips, part, {name: figures[name] for name in column_figures}
                    )
                except _TooManyError:
                    complete = False
                    break
                work += looked_at
                found.append((part, columns))
            else:
                found.append((part, None))
            solutions += len(part)
            complete = complete and solutions < most_solutions and work < most_work
            if not complete:
                break
        if not complete:
            break
    none = np.zeros((0, len(clips)), dtype=np.int64)
    return Solutions(
        counts=clips,
        diagonals=np.concatenate([none, *(part for part, _ in found)]),
        columns=np.concatenate([none, *(part for _, part in found if part is not None)])
        if column_figures
        else None,
        complete=complete,
        work=work,
    )


class _TooManyError(Exception):
    """More candidates at a time than fit the memory."""


def _diagonals(counts: Integers, figures: Mapping[str, Interval]) -> Iterator[tuple[Integers | None, int]]:
    """Diagonals (D, K) with the printed accuracy and UAR, by the first class, and how many were looked at.

    The last are None where there are too many to hold.
    """
    clips = int(counts.sum())
    correct = correct_clips(figures.get("accuracy", Interval(0, 1)), clips)
    if not correct:
        return
    level = next((figures[name].low for name in ("uar", "accuracy", "uf1") if name in figures), 0.5)
    # The likely values first: where the search ends early, it has looked where solutions are.
    for first in sorted(range(int(counts[0]) + 1), key=lambda value: abs(value - level * counts[0])):
        rows = np.full((1, 1), first, dtype=np.int64)
        for number in range(1, len(counts)):
            total, rest = rows.sum(axis=1), int(counts[number + 1 :].sum())
            low = np.maximum(correct[0] - total - rest, 0)
            high = np.minimum(correct[-1] - total, counts[number])
            try:
                row, value = _expand(low, high)
            except _TooManyError:
                yield None, 0
                return
            rows = np.column_stack([rows[row], value])
        fits = np.ones(len(rows), dtype=np.bool_)
        for name in figures.keys() & {"accuracy", "uar"}:
            fits &= figures[name].holds(_figure(name, counts, rows, None))
        yield rows[fits], len(rows)


def _columns(
    counts: Integers, diagonals: Integers, figures: Mapping[str, Interval]
) -> tuple[Integers, Integers, int]:
    """Diagonals (S, K) with column sums (S, K) that give the figures, and how many were looked at."""
    last = len(counts) - 1
    looked_at = len(diagonals)
    diagonals = diagonals[_possible(counts, diagonals, figures)]
    wrong = counts.sum() - diagonals.sum(axis=1)
    # A matrix with empty diagonal, row sums r and column sums s exists if and only if r_i + s_i <= sum r.
    low, high = diagonals, wrong[:, None] - counts + 2 * diagonals
    row = np.arange(len(diagonals))
    chosen = np.zeros((len(diagonals), 0), dtype=np.int64)
    for number in range(last - 1):
        left = counts.sum() - chosen.sum(axis=1)
        least = np.maximum(low[row, number], left - high[row, number + 1 :].sum(axis=1))
        largest = np.minimum(high[row, number], left - low[row, number + 1 :].sum(axis=1))
        place, value = _expand(least, largest)
        row, chosen = row[place], np.column_stack([chosen[place], value])
    left = counts.sum() - chosen.sum(axis=1)
    least = np.maximum(low[row, last - 1], left - high[row, last])
    largest = np.minimum(high[row, last - 1], left - low[row, last])
    looked_at += len(row)

    name = next(iter(figures))
    weights, offsets, bounds = _linear(name, counts, diagonals, figures[name])
    before = np.zeros(len(row))
    for number in range(last - 1):
        before += _ratio(weights[row, number], offsets[number] + chosen[:, number])
    ranges = _two_ranges(
        weights[row, last - 1],
        offsets[last - 1],
        weights[row, last],
        offsets[last] + left,
        bounds[0][row] - before,
        bounds[1][row] - before,
        least,
        largest,
    )
    place, value = (np.concatenate(part) for part in zip(*(_expand(*ends) for ends in ranges), strict=True))
    looked_at += len(place)
    row = row[place]
    columns = np.column_stack([chosen[place], value, left[place] - value])
    diagonals = diagonals[row]
    fits = np.ones(len(row), dtype=np.bool_)
    for figure, interval in figures.items():
        fits &= interval.holds(_figure(figure, counts, diagonals, columns))
    return diagonals[fits], columns[fits], looked_at


def _possible(counts: Integers, diagonals: Integers, figures: Mapping[str, Interval]) -> NDArray[np.bool_]:
    """Which diagonals (D, K) are not ruled out by the least and the largest value of a figure."""
    possible = np.ones(len(diagonals), dtype=np.bool_)
    for name, interval in figures.items():
        weights, offsets, (low, high) = _linear(name, counts, diagonals, interval)
        # sum w / y is least, for a given sum of y, where y grows with the root of w.
        least = np.sqrt(weights).sum(axis=1) ** 2 / (offsets.sum() + counts.sum())
        largest = _ratio(weights, offsets + diagonals).sum(axis=1)
        possible &= (least <= high + 1e-9) & (largest >= low - 1e-9)
    return possible


def _linear(
    name: str, counts: Integers, diagonals: Integers, interval: Interval
) -> tuple[Floats, Integers, tuple[Floats, Floats]]:
    """A figure as sum of weight / (offset + column sum): weights (D, K), offsets (K,); its bounds (D,)."""
    classes, clips = len(counts), counts.sum()
    low, high = np.full(len(diagonals), interval.low), np.full(len(diagonals), interval.high)
    if name == "uf1":
        return 2 * diagonals / classes, counts, (low, high)
    if name == "weighted_f1":
        return 2 * diagonals * counts / clips, counts, (low, high)
    if name == "f1":  # F = 2PR / (P + R), so P = FR / (2R - F), which grows with F
        recall = (diagonals / counts).mean(axis=1)
        low, high = (
            np.where(f < 2 * recall, f * recall / np.where(f < 2 * recall, 2 * recall - f, 1), np.inf)
            for f in (low, high)
        )
    return diagonals / classes, np.zeros_like(counts), (low, high)


def _two_ranges(
    a: Floats,
    a_offset: int,
    b: Floats,
    b_end: Integers,
    low: Floats,
    high: Floats,
    least: Integers,
    largest: Integers,
) -> tuple[tuple[Integers, Integers], tuple[Integers, Integers]]:
    """The whole x in least..largest with low <= a / (a_offset + x) + b / (b_end - x) <= high, and few more.

    The sum is convex in x: those at most ``high`` are one range, and those below ``low`` a hole in it.
    """
    whole = a_offset + b_end  # (a_offset + x) + (b_end - x)
    outer, inner = (_roots(a, b, whole, level) for level in (np.maximum(high, _TINY), np.maximum(low, _TINY)))
    start = np.maximum(least, np.ceil(np.nan_to_num(outer[0] - a_offset, nan=1e9)).astype(np.int64) - 1)
    end = np.minimum(largest, np.floor(np.nan_to_num(outer[1] - a_offset, nan=-1e9)).astype(np.int64) + 1)
    hole = ~np.isnan(inner[0]) & (low > 0)
    hole_start = np.where(hole, np.floor(np.nan_to_num(inner[0] - a_offset)) + 1, end).astype(np.int64)
    hole_end = np.where(hole, np.ceil(np.nan_to_num(inner[1] - a_offset)) - 1, end + 1).astype(np.int64)
    first_end = np.minimum(end, hole_start)
    return (start, first_end), (np.maximum(np.maximum(hole_end, first_end + 1), start), end)


def _roots(a: Floats, b: Floats, whole: Integers, level: Floats) -> tuple[Floats, Floats]:
    """Both y with a / y + b / (whole - y) = level; nan where there is none."""
    capped = np.minimum(level, 1e9)
    middle = capped * whole + a - b
    square = middle**2 - 4 * capped * a * whole
    square = np.where(square < -1e-9 * middle**2, np.nan, np.maximum(square, 0))
    root = np.sqrt(square)
    return (middle - root) / (2 * capped), (middle + root) / (2 * capped)


def _figure(name: str, counts: Integers, diagonals: Integers, columns: Integers | None) -> Floats:
    """(S,) values of a figure, as ``mer.metrics`` defines it."""
    if name == "accuracy":
        return np.asarray(diagonals.sum(axis=1) / counts.sum())
    recall: Floats = (diagonals / counts).mean(axis=1)
    if name == "uar":
        return recall
    if columns is None:
        return np.full(len(diagonals), np.nan)
    if name in ("uf1", "weighted_f1"):
        by_class = 2 * diagonals / (counts + columns)
        weights = counts / counts.sum() if name == "weighted_f1" else 1 / len(counts)
        return np.asarray((by_class * weights).sum(axis=1))
    precision: Floats = _ratio(diagonals, columns).mean(axis=1)
    if name == "precision":
        return precision
    return _ratio(2 * precision * recall, precision + recall)


def _ratio(above: Floats | Integers, below: Floats | Integers) -> Floats:
    """Elementwise quotient, 0 where nothing is above."""
    return np.divide(
        above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=above > 0
    )


def _expand(low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """Every whole number low..high of each row: the row's place and the number."""
    lengths = np.maximum(high - low + 1, 0)
    if lengths.sum() > _MOST_ROWS:
        raise _TooManyError
    place = np.repeat(np.arange(len(low)), lengths)
    starts = np.cumsum(lengths) - lengths
    return place, np.arange(len(place)) - starts[place] + low[place]
