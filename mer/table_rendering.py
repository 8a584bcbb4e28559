"""A table file and our results -> the sheet that is shown, and the sheet as Markdown. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mer import metrics
from mer.scores import ALL, pooled_confusion
from mer.table_file import Column, Row, Table, printed_number
from mer.table_results import SYNTHETIC, Record, Result

NOT_RUN = "not run"
NO_CLIPS = "no clips"  # a column's database is not in this data
DEFINITIONS = {
    "accuracy": "accuracy = correct clips / all clips",
    "f1": "F1-score = harmonic mean of macro precision and macro recall",
    "uf1": "UF1 = mean over classes of F1",
    "uar": "UAR = mean over classes of recall",
}
Scores = dict[str, float]  # by column key; nothing where the data has no such subset


@dataclass(frozen=True)
class Grid:
    """A heading and lines of cells."""

    header: list[str]
    lines: list[list[str]] = field(default_factory=list)
    left: int = 1  # columns that hold words


@dataclass(frozen=True)
class Sheet:
    """What a rendered table says, in no particular format."""

    title: str
    caption: str
    grid: Grid
    footnotes: list[tuple[str, str]]
    how: list[str]
    data: Grid
    runs: Grid
    command: str


def lay_out(
    table: Table,
    results: Mapping[tuple[str, int], Result | None],
    data: str,
    seeds: Sequence[int],
    command: str,
) -> Sheet:
    """Put the paper's numbers and ours side by side.

    Args:
        table: the paper's table.
        results: by (variant, seed); None where nothing has run.
        data: the data that ours ran on; another than the table's is a stand-in.
        seeds: the seeds of ours.
        command: makes this table again.
    """
    there = [result for result in results.values() if result]
    reference = next((result for result in there if result.complete), there[0] if there else None)
    marks = _Marks()
    lines: list[list[str]] = []
    for row in table.rows:
        notes = [table.footnotes[note] for note in row.notes]
        if row.not_run:
            notes.append(f"No run of ours: {row.not_run}.")
        if row.majority and reference:
            notes.append(f"Every clip is given the most frequent class, {_majority(reference)}.")
        label = " ".join([row.label, *(f"({marks.of(text)})" for text in notes)])
        block = _block(table, row, results, seeds, reference)
        lines += [[label if not number else "", *cells] for number, cells in enumerate(block)]
    partial = _partial(results)
    synthetic = data == SYNTHETIC or any(result.record.synthetic for result in there)
    title = f"PARTIAL ({partial}): {table.title}" if partial else table.title
    printed = table.paper
    caption = f"{printed.name}, table {printed.table}: {printed.caption}" if printed else ""
    return Sheet(
        title=f"SYNTHETIC DATA: {title}" if synthetic else title,
        caption=f"PARTIAL ({partial}). {caption}".strip() if partial else caption,
        grid=Grid(["method", "line", *(column.header for column in table.columns)], lines, left=2),
        footnotes=marks.listed(),
        how=_how(table, data, seeds, reference, synthetic),
        data=_data_grid(reference),
        runs=_runs_grid(there),
        command=command,
    )


def to_markdown(sheet: Sheet) -> str:
    """The sheet as Markdown, its columns aligned in the source too."""
    parts = [f"# {sheet.title}", *filter(None, [sheet.caption]), _markdown_grid(sheet.grid)]
    if sheet.footnotes:
        parts.append("\n".join(f"- ({mark}) {text}" for mark, text in sheet.footnotes))
    parts += ["## How", "\n".join(f"- {line}" for line in sheet.how)]
    parts += [_markdown_grid(grid) for grid in (sheet.data, sheet.runs) if grid.lines]
    parts += ["Made by:", f"    {sheet.command}"]
    return "\n\n".join(parts) + "\n"


class _Marks:
    """Letters for footnotes, in the order of their first use; equal texts share one."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def of(self, text: str) -> str:
        if text not in self._texts:
            self._texts.append(text)
        return _letter(self._texts.index(text))

    def listed(self) -> list[tuple[str, str]]:
        return [(_letter(number), text) for number, text in enumerate(self._texts)]


def _letter(number: int) -> str:
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _block(
    table: Table,
    row: Row,
    results: Mapping[tuple[str, int], Result | None],
    seeds: Sequence[int],
    reference: Result | None,
) -> list[list[str]]:
    """The lines of a row: what it is, then a cell a column."""
    block = []
    if row.paper or row.not_run:
        block.append(
            ["paper, quoted" if row.quote else "paper", *(row.paper.get(c.key, "") for c in table.columns)]
        )
    if row.not_run:
        return block
    if row.majority:
        ours = [reference] if reference else []
        scores = [_scores(table, _all_majority(result), result.record.classes) for result in ours]
    else:
        ours = [result for seed in seeds if (result := results[str(row.variant), seed])]
        scores = [_scores(table, result.predictions, result.record.classes) for result in ours]
    partial = _partial({(row.label, number): result for number, result in enumerate(ours)}) if ours else ""
    missing = 0 if row.majority else len(seeds) - len(ours)
    if missing and ours:
        partial = ", ".join(filter(None, [partial, f"{len(ours)} of {len(seeds)} seeds"]))
    name = f"ours, PARTIAL ({partial})" if partial else "ours"
    absent = NO_CLIPS if ours and not partial else NOT_RUN
    block.append([name, *(_cell(column, scores, absent) for column in table.columns)])
    # Some folds against the paper's all would be a difference between two sets of clips.
    if scores and not partial and (difference := _differences(table.columns, row, scores)):
        block.append(["difference", *difference])
    return block


def _scores(table: Table, predictions: pd.DataFrame, classes: Sequence[str]) -> Scores:
    scores = {}
    for column in table.columns:
        subset = (
            predictions if column.subset == ALL else predictions[predictions["database"] == column.subset]
        )
        if len(subset):
            scores[column.key] = metrics.scores(pooled_confusion(subset, classes))[column.metric]
    return scores


def _cell(column: Column, scores: Sequence[Scores], absent: str) -> str:
    values = [score[column.key] for score in scores if column.key in score]
    if not values:
        return absent
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def _differences(columns: Sequence[Column], row: Row, scores: Sequence[Scores]) -> list[str]:
    cells = []
    for column in columns:
        printed = printed_number(row.paper[column.key]) if column.key in row.paper else None
        values = [score[column.key] for score in scores if column.key in score]
        # Adding 0.0 makes a rounded -0 a 0.
        cells.append(
            "" if printed is None or not values else f"{round(np.mean(values) - printed, 4) + 0.0:+.4f}"
        )
    return cells if any(cells) else []


def _majority(result: Result) -> str:
    counts = result.predictions["label"].value_counts()
    return max(result.record.classes, key=lambda name: int(counts.get(name, 0)))


def _all_majority(result: Result) -> pd.DataFrame:
    majority = _majority(result)
    return result.predictions.assign(
        **{f"p_{name}": float(name == majority) for name in result.record.classes}
    )


def _partial(results: Mapping[tuple[str, int], Result | None]) -> str:
    """How much is there, empty where nothing is missing."""
    if all(result and result.complete for result in results.values()):
        return ""
    there = [result for result in results.values() if result]
    if not there:
        return "no fold has run"
    # A run that has not begun has the folds of the others: same data, same protocol.
    total = len(results) * max(result.record.folds for result in there)
    return f"{sum(result.folds_done for result in there)} of {total} folds"


def _how(
    table: Table, data: str, seeds: Sequence[int], reference: Result | None, synthetic: bool
) -> list[str]:
    used = [metric for metric in DEFINITIONS if any(column.metric == metric for column in table.columns)]
    numbers = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    how = [
        f"Data `{data}`, protocol `{table.protocol}`, {numbers}.",
        "Scores are counted over the pooled predictions of all folds, at the last epoch: "
        + "; ".join(DEFINITIONS[metric] for metric in used)
        + ".",
    ]
    if synthetic:
        how.append("Drawn faces: these numbers say nothing about people.")
    if len(seeds) > 1:
        how.append("Ours is the mean over the seeds ± their standard deviation (n - 1).")
    if any(row.paper for row in table.rows):
        how.append("The difference is ours - the paper's.")
    if reference and reference.record.tag:
        how.append(f"Runs tagged `{reference.record.tag}`: their settings need not be those of the variants.")
    for column in {column.subset: column for column in table.columns}.values():
        if reference and reference.complete and column.subset != ALL:
            labels = set(
                reference.predictions.loc[reference.predictions["database"] == column.subset, "label"]
            )
            if labels and (none := [name for name in reference.record.classes if name not in labels]):
                how.append(f"`{column.subset}` holds no clip of {', '.join(none)}: its means leave them out.")
    return how


def _data_grid(reference: Result | None) -> Grid:
    classes = reference.record.classes if reference else []
    grid = Grid(["database", "clips", "subjects", "folds", *classes])
    if reference:
        parts = [(str(name), part) for name, part in reference.predictions.groupby("database")]
        if len(parts) > 1:
            parts.insert(0, (ALL, reference.predictions))
        for name, part in parts:
            people = len(part.drop_duplicates(["database", "subject"]))
            counts = [int((part["label"] == label).sum()) for label in classes]
            grid.lines.append([name, *map(str, [len(part), people, part["fold"].nunique(), *counts])])
    return grid


def _runs_grid(results: Sequence[Result]) -> Grid:
    header = [
        "variant",
        "seed",
        "folds",
        "epochs",
        "training, s",
        "data content",
        "date",
        "commit",
        "uncommitted changes",
    ]
    return Grid(
        [*header, "mer", "torch"], [_run_line(result.record, result.folds_done) for result in results]
    )


def _run_line(record: Record, folds_done: int) -> list[str]:
    commits = ", ".join(commit[:8] for commit in record.commit.split(", "))
    folds = f"{folds_done}/{record.folds}"
    line = [
        record.name,
        str(record.seed),
        folds,
        str(record.epochs),
        f"{record.seconds:.0f}",
        record.content[:8],
    ]
    return [*line, record.date, commits, "yes" if record.dirty else "no", record.mer, record.torch]


def _markdown_grid(grid: Grid) -> str:
    lines = [[cell.replace("|", "\\|") for cell in line] for line in [grid.header, *grid.lines]]
    widths = [max(3, *map(len, cells)) for cells in zip(*lines, strict=True)]
    rule = [
        "-" * width if number < grid.left else "-" * (width - 1) + ":" for number, width in enumerate(widths)
    ]
    padded = [
        [
            cell.ljust(width) if number < grid.left else cell.rjust(width)
            for number, (cell, width) in enumerate(pairs)
        ]
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])
