"""What printed scores, matrices and accuracies can mean: verdicts on top of ``mer.print_check``. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mer.errors import MerError
from mer.print_check import (
    FIGURES,
    MOST_CLIPS,
    MOST_WORK,
    Interval,
    Rounding,
    Solutions,
    correct_clips,
    printed_interval,
    search,
)

Verdict = Literal["consistent", "only if", "inconsistent", "undecided"]

COLUMNS = ("accuracy", "f1", "uf1", "uar", "precision")  # what a table prints
NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "uf1": "UF1",
    "uar": "UAR",
    "precision": "macro precision",
    "weighted_f1": "F1 weighted by class size",
}
# What a column holds instead, where it is misnamed.
MISTAKEN = {
    "accuracy": ("uar",),
    "f1": ("uf1", "weighted_f1"),
    "uf1": ("f1", "weighted_f1"),
    "uar": ("precision", "accuracy"),
    "precision": ("uar",),
}
SWAPPED = (("f1", "uf1"), ("uar", "precision"), ("accuracy", "uar"))
NEARBY = 50  # printed figures to both sides, in units of the last digit
FITS_ANYTHING = 0.9  # a reading that so many of them would fit as well explains nothing
MANY = 100  # a row with as many solutions tells no meaning from another
_NEARBY_WORK = 50_000_000
_ROW_WORK = 3 * MOST_WORK  # of all meanings of a row together: minutes on one core
MOST_CLASSES = 20  # of a matrix
OTHER_SIZES = 0.1  # how far another number of clips is sought, as a fraction


@dataclass(frozen=True)
class Reading:
    """One way to read a row, and what follows.

    ``meaning`` holds the columns that mean another figure. ``spans`` holds the values that are left to every
    figure. ``nearby`` is the share of the printed figures around a changed column's that this reading would
    fit as well: the smaller, the more the fit says. None where nothing changed.
    """

    meaning: dict[str, str]
    rounding: Rounding
    solutions: int
    complete: bool
    spans: dict[str, tuple[float, float]]
    nearby: float | None = None


@dataclass(frozen=True)
class RowCheck:
    """The verdict on a row. ``sizes``: where the accuracy is no k/N, the N around it for which it is one.

    ``readings`` are those that fit; ``rivals`` are other meanings that fit a consistent row too, None where
    it has too many solutions to ask.
    """

    verdict: Verdict
    readings: tuple[Reading, ...]
    rivals: tuple[dict[str, str], ...] | None
    sizes: tuple[int, ...] | None


def check_row(counts: Sequence[int], printed: Mapping[str, str]) -> RowCheck:
    """Whether a confusion matrix over clips of these classes has these printed figures.

    Args:
        counts: clips a class.
        printed: figure as printed, by column of COLUMNS.

    Raises:
        MerError: figures, counts or columns that cannot be checked.
    """
    if strange := [name for name in printed if name not in COLUMNS]:
        raise MerError(f"{strange[0]}: no such figure; there are {', '.join(COLUMNS)}")
    as_named, work = _read(counts, printed, {}, "rounded")
    if as_named.solutions:
        rivals = None
        if as_named.solutions < MANY:
            rivals = tuple(meaning for meaning in _meanings(printed) if _fits(counts, printed, meaning))
        return RowCheck("consistent", (as_named,), rivals, None)
    found: list[Reading] = []
    others: list[tuple[dict[str, str], Rounding]] = [({}, "truncated")]
    for meaning, rounding in [*others, *((meaning, "rounded") for meaning in _meanings(printed))]:
        reading, spent = _read(counts, printed, meaning, rounding, most_work=min(MOST_WORK, _ROW_WORK - work))
        found.append(reading)
        work += spent
    sizes = None
    if "accuracy" in printed and not correct_clips(printed_interval(printed["accuracy"]), sum(counts)):
        sizes = other_sizes([printed["accuracy"]], sum(counts))
    fitting = [reading for reading in found if reading.solutions]
    if telling := tuple(
        reading for reading in fitting if not reading.meaning or (reading.nearby or 1) < FITS_ANYTHING
    ):
        return RowCheck("only if", telling, (), sizes)
    complete = as_named.complete and all(reading.complete for reading in found)
    return RowCheck("inconsistent" if complete else "undecided", (), (), sizes)


def describe_row(counts: Sequence[int], printed: Mapping[str, str], check: RowCheck) -> str:
    """A row's verdict in words, with the values that follow."""
    clips = sum(counts)
    size = "" if check.sizes is None else f"{_no_share(printed['accuracy'], clips, check.sizes)}; "
    if check.verdict == "consistent":
        text = _solutions(check.readings[0])
        if check.rivals is None:
            return f"{text}: too few figures to tell one meaning from another"
        if check.rivals:
            return f"{text}; it fits as well if " + ", or if ".join(map(_meaning, check.rivals))
        return f"{text}; no other meaning fits"
    if check.verdict == "only if":
        return size + "; or ".join(map(_reading, check.readings))
    if check.verdict == "undecided":
        return size + "the search is too large: no matrix found before it stopped"
    return (
        f"{size}no matrix over {', '.join(map(str, counts))} clips has these figures: misprinted, "
        "of other clips, or a mean over folds"
    )


def check_accuracy(clips: int, printed: str) -> tuple[str, str]:
    """Whether an accuracy is a whole number of all clips: verdict and words.

    Raises:
        MerError: no accuracy, or too few or too many clips.

    >>> check_accuracy(442, "74.43%")
    ('consistent', '74.43% = 329 of 442')
    """
    correct, sizes = correct_clips(printed_interval(printed), clips), other_sizes([printed], clips)
    if not correct:
        return "inconsistent", _no_share(printed, clips, sizes)
    whole = f"{correct[0]}" if len(correct) == 1 else f"{correct[0]} to {correct[-1]}"
    return "consistent", f"{printed} = {whole} of {clips}"


def _no_share(accuracy: str, clips: int, sizes: Sequence[int]) -> str:
    others = ", ".join(map(str, sizes)) or "no number"
    return f"accuracy {accuracy} is no k/{clips} (k/N for N around it: {others})"


def _reading(reading: Reading) -> str:
    if not reading.meaning:
        return f"its figures are truncated ({_solutions(reading)})"
    nearby = ""
    if reading.nearby is not None:
        nearby = f"; {reading.nearby:.0%} of the figures around the printed one would fit too"
    true = ", ".join(
        f"true {NAMES[name]} {_span(reading.spans[name])}"
        for name in reading.meaning
        if name in reading.spans
    )
    part = "" if reading.complete else " among those found"
    return f"{_meaning(reading.meaning)} ({_solutions(reading)}{nearby}); {true}{part}".rstrip("; ")


def _meaning(meaning: Mapping[str, str]) -> str:
    return " and ".join(f"the column {NAMES[name]} holds {NAMES[figure]}" for name, figure in meaning.items())


def _solutions(reading: Reading) -> str:
    more = "" if reading.complete else "at least "
    return f"{more}{reading.solutions:,} solution{'' if reading.solutions == 1 else 's'}"


def _span(span: tuple[float, float]) -> str:
    low, high = (f"{value:.4f}" for value in span)
    return low if low == high else f"{low} to {high}"


def other_sizes(printed: Sequence[str], clips: int) -> tuple[int, ...]:
    """The numbers of clips around ``clips`` for which every printed accuracy is k/N.

    >>> other_sizes(["0.7460"], 442), other_sizes(["81.46%"], 247)
    ((433, 437, 441), ())
    """
    reach = _reach(clips)
    intervals = [printed_interval(text) for text in printed]
    sizes = range(max(1, clips - reach), clips + reach + 1)
    return tuple(size for size in sizes if all(correct_clips(interval, size) for interval in intervals))


def best_sizes(printed: Sequence[str], clips: int) -> tuple[tuple[int, ...], int]:
    """The numbers of clips around ``clips`` that make most of the printed accuracies k/N, and how many."""
    reach = _reach(clips)
    intervals = [printed_interval(text) for text in printed]
    fits = {
        size: sum(bool(correct_clips(interval, size)) for interval in intervals)
        for size in range(max(1, clips - reach), clips + reach + 1)
    }
    most = max(fits.values())
    return tuple(size for size, number in fits.items() if number == most), most


def _reach(clips: int) -> int:
    if not 0 < clips <= MOST_CLIPS:
        raise MerError(f"{clips} clips: 1 to {MOST_CLIPS} can be checked")
    return max(5, round(clips * OTHER_SIZES))


@dataclass(frozen=True)
class MatrixCheck:
    """What a printed matrix allows.

    ``matrix`` is the one matrix in whole clips, None where there is none or more than one; ``ways`` is how
    many there are. ``rows`` are the rows (from 0) whose cells cannot add up to their class. ``correct`` are
    the numbers of correct clips that the diagonal allows.
    """

    ways: int
    matrix: NDArray[np.int64] | None
    rows: tuple[int, ...]
    correct: range


def check_matrix(
    cells: Sequence[Sequence[str]], counts: Sequence[int], *, of: Literal["row", "all"] = "row"
) -> MatrixCheck:
    """The whole-clip matrices behind a matrix printed as shares.

    Args:
        cells: (K, K) shares as printed, rows true, columns predicted.
        counts: clips a class; 0 where a class has none.
        of: a share of its row's clips, or of all clips.

    Raises:
        MerError: not square, counts that do not fit it, or a cell that is no share.

    >>> check_matrix([["75%", "25%"], ["0%", "100%"]], [4, 3]).matrix.tolist()
    [[3, 1], [0, 3]]
    """
    if any(len(row) != len(cells) for row in cells) or len(counts) != len(cells):
        raise MerError(
            f"a matrix of K rows with K cells and K counts is needed, not {cells} with {list(counts)}"
        )
    if len(counts) > MOST_CLASSES or sum(counts) > MOST_CLIPS or min(counts, default=0) < 0:
        raise MerError(
            f"counts: from 0, at most {MOST_CLASSES} classes and {MOST_CLIPS} clips can be checked"
        )
    each_row: list[int] = []
    rows: list[list[int]] = []
    low, high = 0, 0
    for number, (row, clips) in enumerate(zip(cells, counts, strict=True)):
        base = clips if of == "row" else sum(counts)
        allowed = [_allowed(printed_interval(cell), base) for cell in row]
        each_row.append(_ways(allowed, clips))
        if each_row[-1]:
            left = clips - sum(each[0] for each in allowed)  # beyond the least of each
            rows.append([min(each[-1], each[0] + left) for each in allowed])
            least = clips - sum(each[-1] for each in allowed) + allowed[number][-1]
            low, high = low + max(allowed[number][0], least), high + rows[-1][number]
        else:
            low += min(allowed[number], default=0)
            high += max(allowed[number], default=base)
    ways = prod(each_row)
    matrix = np.array(rows, dtype=np.int64) if ways == 1 else None
    bad = tuple(number for number, ways in enumerate(each_row) if not ways)
    return MatrixCheck(ways, matrix, bad, range(low, high + 1))


def _ways(allowed: Sequence[range], total: int) -> int:
    """In how many ways one number of each range add up to the total."""
    if not all(allowed):
        return 0
    ways = [1]  # to reach 0, 1, 2... beyond the least of each range so far
    beyond = total - sum(each[0] for each in allowed)
    if beyond < 0:
        return 0
    for each in allowed:
        sums = [0, *accumulate(ways)]
        last = min(len(ways) + len(each) - 1, beyond + 1)
        ways = [
            sums[min(k, len(ways) - 1) + 1] - sums[min(max(k + 1 - len(each), 0), len(ways))]
            for k in range(last)
        ]
    return ways[beyond] if beyond < len(ways) else 0


def _allowed(interval: Interval, base: int) -> range:
    return range(1) if base == 0 else correct_clips(interval, base)


def _meanings(printed: Mapping[str, str]) -> list[dict[str, str]]:
    """The other meanings that are tried: one column misnamed, or two exchanged."""
    single = [
        {column: figure}
        for column, figures in MISTAKEN.items()
        if column in printed
        for figure in figures
        if figure not in printed
    ]
    exchanged = [{a: b, b: a} for a, b in SWAPPED if a in printed and b in printed]
    return single + exchanged


def _intervals(
    printed: Mapping[str, str], meaning: Mapping[str, str], rounding: Rounding = "rounded"
) -> dict[str, Interval]:
    return {meaning.get(name, name): printed_interval(text, rounding) for name, text in printed.items()}


def _fits(counts: Sequence[int], printed: Mapping[str, str], meaning: Mapping[str, str]) -> bool:
    return len(search(counts, _intervals(printed, meaning), most_solutions=1)) > 0


def _read(
    counts: Sequence[int],
    printed: Mapping[str, str],
    meaning: dict[str, str],
    rounding: Rounding,
    *,
    most_work: int = MOST_WORK,
) -> tuple[Reading, int]:
    """A reading, and how many candidates were looked at for it."""
    found = search(counts, _intervals(printed, meaning, rounding), most_work=most_work)
    spans = {figure: span for figure in FIGURES if (span := found.span(figure))}
    nearby = _nearby(counts, printed, meaning) if meaning and len(found) else None
    return Reading(meaning, rounding, len(found), found.complete, spans, nearby), found.work


def _nearby(counts: Sequence[int], printed: Mapping[str, str], meaning: dict[str, str]) -> float:
    """Share of the figures around the first changed column's that the reading would fit as well."""
    intervals = _intervals(printed, meaning)
    figure = next(iter(meaning.values()))
    unit = intervals[figure].high - intervals[figure].low
    around = Interval(intervals[figure].low - NEARBY * unit, intervals[figure].high + NEARBY * unit)
    found: Solutions = search(counts, intervals | {figure: around}, most_work=_NEARBY_WORK)
    if not found.complete:  # many solutions, or too many candidates to tell
        return 1.0
    # Each value is one printed figure; counted from the interval's lower end.
    return len(np.unique(np.floor((found.values(figure) - around.low) / unit))) / (2 * NEARBY + 1)
