"""One row of a table: the paper's cells, ours and their differences, from predictions. No torch."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mer import metrics
from mer.scores import ALL, pooled_confusion
from mer.statistics import bootstrap_interval
from mer.table_file import Column, Home, Row, Table, printed_number
from mer.table_results import Result

NOT_RUN = "not run"
NO_CLIPS = "no clips"  # a column's database is not in this data
Lacking = Mapping[str, Collection[str]]  # data that this machine lacks -> its databases, as "CASME II"
Results = Mapping[tuple[str, Home, int], Result | None]  # by variant, data and protocol, seed


@dataclass(frozen=True)
class Cell:
    """What a column says of a row."""

    paper: str  # as printed, empty where it prints nothing
    scores: list[float]  # ours, one a seed
    absent: str  # stands where there are no scores
    interval: tuple[float, float] | None
    difference: float | None

    @property
    def ours(self) -> str:
        """Mean over the seeds; of several ± their spread; and the mean's interval where that is asked for."""
        if not self.scores:
            return self.absent
        text = f"{np.mean(self.scores):.4f}"
        if len(self.scores) > 1:
            text += f" ± {np.std(self.scores, ddof=1):.4f}"
        return f"{text} [{self.interval[0]:.4f}, {self.interval[1]:.4f}]" if self.interval else text


@dataclass(frozen=True)
class RowCells:
    """A row with its cells, one a column."""

    row: Row
    cells: list[Cell]
    partial: str  # how much of ours is there, empty where nothing is missing

    def block(self, mark: Callable[[str], str]) -> list[list[str]]:
        """The row as lines of a grid, without its label.

        Args:
            mark: a footnote's text -> its letter; for why there is no run in a cell.
        """
        lines = []
        if self.row.paper or self.row.not_run:
            name = "paper, quoted" if self.row.quote else "paper"
            lines.append([name, *(cell.paper for cell in self.cells)])
        if self.row.not_run:
            return lines
        name = f"ours, PARTIAL ({self.partial})" if self.partial else "ours"
        reasons = [cell.absent.startswith(f"{NOT_RUN}:") and not cell.scores for cell in self.cells]
        shown = [
            f"{NOT_RUN} ({mark(cell.absent)})" if reason else cell.ours
            for cell, reason in zip(self.cells, reasons, strict=True)
        ]
        lines.append([name, *shown])
        if any(cell.difference is not None for cell in self.cells):
            differences = [_number(cell.difference, "+") for cell in self.cells]
            lines.append(["difference", *differences])
        return lines

    def flat(self, columns: Sequence[Column], *, spread: bool) -> list[str]:
        """The row as one line: label, quote, then as `flat_header` says."""
        line = [self.row.label, "quoted" if self.row.quote else "", self.partial]
        for column, cell in zip(columns, self.cells, strict=True):
            mean = float(np.mean(cell.scores)) if cell.scores else None
            line.append(cell.absent if mean is None else _number(mean))
            if spread:
                line.append(_number(float(np.std(cell.scores, ddof=1)) if len(cell.scores) > 1 else None))
            if column.interval:
                line += [_number(bound) for bound in cell.interval or (None, None)]
            line += [cell.paper, _number(cell.difference, "+")]
        return line


def flat_header(columns: Sequence[Column], *, spread: bool) -> list[str]:
    """The heading over `RowCells.flat`: of each column ours, the paper's and the difference."""
    header = ["method", "quoted", "partial"]
    for column in columns:
        parts = ["ours", *(["ours sd"] if spread else []), *(["low", "high"] if column.interval else [])]
        header += [f"{column.header} {part}" for part in [*parts, "paper", "difference"]]
    return header


def row_cells(
    table: Table,
    row: Row,
    results: Results,
    references: Mapping[Home, Result | None],
    lacking: Lacking,
) -> RowCells:
    """The cells of a row.

    Args:
        table: with the data, protocols and seeds of ours.
        row: one of its rows.
        results: None where nothing has run.
        references: a result of each (data, protocol), which the majority row is counted on.
        lacking: says so in cells without a result.
    """
    scores: dict[Home, list[dict[str, float]]] = {}
    partial: dict[Home, str] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for home in table.homes if not row.not_run else ():
        columns = [column for column in table.columns if column.home == home]
        if row.majority:
            ours = [reference] if (reference := references[home]) else []
            shown = [all_majority(result) for result in ours]
        else:
            ours = [result for seed in table.seeds if (result := results[str(row.variant), home, seed])]
            shown = [result.predictions for result in ours]
        scores[home] = [
            _scores(columns, predictions, result.record.classes)
            for predictions, result in zip(shown, ours, strict=True)
        ]
        partial[home] = _row_partial(ours, 1 if row.majority else len(table.seeds))
        whole = len(ours) == 1 or not partial[home]  # of some folds, seeds hold other clips
        if len(ours) == len(table.seeds) and whole and not row.majority:
            intervals |= _intervals(columns, ours)
    cells = []
    for column in table.columns:
        there = scores.get(column.home, [])
        values = [score[column.key] for score in there if column.key in score]
        absent = f"{NOT_RUN}: {row.not_run}" if row.not_run else NOT_RUN
        if there and not partial[column.home]:
            absent = NO_CLIPS
        elif not row.not_run and (needs := missing(table, row.variant, column.data, lacking)):
            absent = f"{NOT_RUN}: needs {needs} under data.root"
        # Some folds against the paper's all would be a difference between two sets of clips.
        compared = values if values and not partial[column.home] else []
        cells.append(
            Cell(
                paper=row.paper.get(column.key, ""),
                scores=values,
                absent=absent,
                interval=intervals.get(column.key),
                difference=_difference(row.paper.get(column.key), compared),
            )
        )
    if len(table.homes) > 1:
        partial = {home: f"{_home(home)}: {text}" for home, text in partial.items() if text}
    return RowCells(row, cells, "; ".join(filter(None, partial.values())))


def majority(result: Result) -> str:
    """The most frequent class; the first of equals."""
    counts = result.predictions["label"].value_counts()
    return max(result.record.classes, key=lambda name: int(counts.get(name, 0)))


def all_majority(result: Result) -> pd.DataFrame:
    """The predictions of whoever says the most frequent class of every clip."""
    chosen = majority(result)
    return result.predictions.assign(**{f"p_{name}": float(name == chosen) for name in result.record.classes})


def missing(table: Table, variant: str | None, data: str, lacking: Lacking) -> str:
    """The databases that this machine lacks of what a variant reads, such as ``CASME II, SAMM``."""
    names = [name for each in table.reads(variant, data) for name in lacking.get(each, ())]
    return ", ".join(dict.fromkeys(names))


def partial_words(table: Table, results: Results, lacking: Lacking) -> str:
    """How much is there, empty where nothing is missing but what cannot run here."""
    homes = dict.fromkeys(home for _, home, _ in results)
    texts = {}
    for home in homes:
        own = [
            result
            for (variant, at, _), result in results.items()
            if at == home and (result or not missing(table, variant, home[0], lacking))
        ]
        if text := _partial(own):
            texts[home] = text
    if len(homes) == 1:
        return "".join(texts.values())
    return "; ".join(f"{_home(home)}: {text}" for home, text in texts.items())


def _partial(results: Sequence[Result | None]) -> str:
    if all(result and result.complete for result in results):
        return ""
    there = [result for result in results if result]
    if not there:
        return "no fold has run"
    # A run that has not begun has the folds of the others: same data, same protocol.
    total = len(results) * max(result.record.folds for result in there)
    return f"{sum(result.folds_done for result in there)} of {total} folds"


def _row_partial(ours: Sequence[Result], seeds: int) -> str:
    if not ours:
        return ""
    texts = [_partial(ours)]
    if len(ours) < seeds:
        texts.append(f"{len(ours)} of {seeds} seeds")
    return ", ".join(filter(None, texts))


def _home(home: Home) -> str:
    return " ".join(home)


def _subset(predictions: pd.DataFrame, column: Column) -> pd.DataFrame:
    if column.subset == ALL:
        return predictions
    return predictions[predictions["database"] == column.subset]


def _scores(columns: Sequence[Column], predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """By column key; nothing where the data has no such subset."""
    by_subset: dict[str, dict[str, float]] = {}
    for column in {column.subset: column for column in columns}.values():
        subset = _subset(predictions, column)
        if len(subset):
            by_subset[column.subset] = metrics.scores(pooled_confusion(subset, classes))
    return {
        column.key: by_subset[column.subset][column.metric]
        for column in columns
        if column.subset in by_subset
    }


def _intervals(columns: Sequence[Column], ours: Sequence[Result]) -> dict[str, tuple[float, float]]:
    intervals = {}
    for column in columns:
        subsets = [_subset(result.predictions, column) for result in ours]
        if column.interval and len(subsets[0]):
            intervals[column.key] = bootstrap_interval(subsets, ours[0].record.classes, column.metric)
    return intervals


def _difference(paper: str | None, scores: Sequence[float]) -> float | None:
    printed = printed_number(paper) if paper is not None else None
    if printed is None or not scores:
        return None
    # Adding 0.0 makes a rounded -0 a 0.
    return float(round(np.mean(scores) - printed, 4) + 0.0)


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"
