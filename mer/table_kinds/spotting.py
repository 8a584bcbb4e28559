"""Kind ``spotting``: how well methods find expressions in videos, ours beside the paper's.

Example::

    kind: spotting
    title: "Time contrast, table 1: spotting on CASME II"
    paper: {name: Time-contrasted network, table: 1, caption: Quantitative results of spotting}
    data: casme2
    protocol: loso
    seeds: [0, 1, 2]
    columns:
      auc: {metric: auc, header: AUC}
      f1: {metric: interval_f1, header: "F1, intervals"}
      alarms: {metric: false_alarms, header: False alarms a minute}
    rows:
      - label: LBP
        variant: lbp_difference/base
        spot: {relative: true}
        paper: {auc: 92.98%}
      - label: Proposed
        variant: timecontrast/base
        paper: {auc: 94.24%}

``columns``: ``metric`` is ``auc``, over the pooled frames; ``interval_f1``, ``interval_precision`` or
``interval_recall``, over the pooled intervals; or ``false_alarms``, a minute of the videos without an
expression. ``subset`` is ``all`` (default) or a database; ``data`` and ``protocol`` are the table's unless
a column has its own. A row has ``variant``, ``<experiment>/<variant>``, or ``not_run``, the reason; then
``paper``, the numbers as printed; ``quote``, the paper only quotes them; ``notes``. ``spot``, of the table
and of a row over it, is the rule that makes intervals of a curve: the fields of
`mer.spotting_scores.SpotOptions`. It says nothing about the AUC.

Nothing is trained for it: `mer train` makes the runs, at whose last epoch the scores are counted. The curves
of all rows, of the first seed, become one picture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.errors import MerError
from mer.spotting_figures import roc_figure
from mer.spotting_metrics import frame_auc, roc_curve
from mer.spotting_scores import SpotOptions, scores
from mer.table_file import printed_number
from mer.table_formats import SYNTHETIC_TITLE, Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_kinds._spotting import DECIMALS, Request, Row, Run, read_table
from mer.table_needs import lacking

NOT_RUN = "not run"
_DEFINITIONS = {
    "auc": "AUC = area under the ROC curve of all frames, inside an expression or not",
    "interval_f1": "F1 = 2 TP / (2 TP + FP + FN) of intervals",
    "interval_precision": "precision = TP / (TP + FP) of intervals",
    "interval_recall": "recall = TP / (TP + FN) of intervals",
    "false_alarms": "false alarms = intervals a minute, in videos without an expression",
}
_UNDEFINED = {"auc": "frames of one kind", "false_alarms": "no such video"}


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of spotting scores; ``data=``, ``seeds=``, ``tag=``, ``runs_dir=`` as of tables of scores.

    Raises:
        MerError: what is wrong with the file, naming the key; or with runs that are there.
    """
    read = read_table(request, path, overrides)
    notes = schema.Notes(path, request.get("footnotes", {}))
    keys = [column.key for column in read.columns]
    lines: list[list[str]] = []
    for row in read.rows:
        ours, differences, missing = _cells(read, row)
        label = notes.label(row.where, row.label, row.notes, missing)
        paper = {key: schema.Printed(text, printed_number(text)) for key, text in row.paper.items()}
        shown = None if row.not_run else ours
        lines += [
            [label if not number else "", *cells[1:]]
            for number, cells in enumerate(
                schema.block(label, keys, paper=paper, ours=shown, differences=differences, quote=row.quote)
            )
        ]
    synthetic = any(run.synthetic for run in read.found.values())
    title = schema.line(request["title"])
    grid = Grid(["method", "line", *(column.header for column in read.columns)], lines, left=2)
    return Sheet(
        title=f"{SYNTHETIC_TITLE}{title}" if synthetic else title,
        caption=schema.caption(path, request),
        grid=grid,
        footnotes=notes.listed(),
        how=_how(read, synthetic),
        data=_data_grid(read),
        runs=_runs_grid(list(read.found.values())),
        command=schema.command(
            path, [override for override in overrides if override.startswith(("data=", "seeds=", "tag="))]
        ),
        flat=schema.flat(grid),
    )


def figures(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> dict[str, Figure]:
    """The ROC curves of all rows in one picture a (data, protocol): ``<table's file>.roc-<data>``.

    A row has the curve of its first seed that has run; rows of one variant have one curve.

    Raises:
        MerError: as :func:`lay_out`.
    """
    read = read_table(request, path, overrides)
    drawn = {}
    for home in read.homes:
        curves = {}
        variants: set[str | None] = set()
        there = [(row, there[0]) for row in read.rows if (there := read.of(row, home))]
        for row, run in there:
            inside, score = run.frames["inside"].to_numpy(np.bool_), run.frames["score"].to_numpy()
            if row.variant in variants or inside.all() or not inside.any():
                continue
            variants.add(row.variant)
            rates = roc_curve(inside, score)
            name = row.label if len(read.seeds) == 1 else f"{row.label}, seed {run.key.seed}"
            curves[name] = (rates[0], rates[1], frame_auc(inside, score))
        if curves:
            mark = SYNTHETIC_TITLE if any(run.synthetic for _, run in there) else ""
            suffix = "roc" if len(read.homes) == 1 else f"roc-{'-'.join(home)}"
            drawn[f"{path.stem}.{suffix}"] = roc_figure(
                curves, f"{mark}ROC curves of frames, {home[0]} ({home[1]})"
            )
    return drawn


def _cells(read: Request, row: Row) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Ours and the differences by column key, and the footnotes that say why there are none."""
    if row.not_run:
        return {}, {}, [f"No run of ours: {row.not_run}."]
    counted = {home: [_scores(run, row.options) for run in read.of(row, home)] for home in read.homes}
    ours, differences, missing = {}, {}, []
    for column in read.columns:
        tables = counted[column.home]
        if not tables:
            ours[column.key] = NOT_RUN
            lost = lacking(column.home[0])
            needs = f"needs {', '.join(lost)} under data.root"
            makes = f"`{read.commands[row.variant or '', column.home]}` makes it"
            missing.append(f"{NOT_RUN}: {needs if lost else makes}")
            continue
        if len(tables) < len(read.seeds):
            missing.append(f"PARTIAL: {len(tables)} of {len(read.seeds)} seeds")
        values = [
            float(table[column.metric][column.subset]) for table in tables if column.subset in table.index
        ]
        if not values:
            ours[column.key] = "no videos"
            continue
        decimals = DECIMALS[column.metric]
        mean = float(np.mean(values))
        if np.isnan(mean):
            ours[column.key] = _UNDEFINED.get(column.metric, "nothing to find")
            continue
        ours[column.key] = f"{mean:.{decimals}f}"
        if len(values) > 1:
            ours[column.key] += f" ± {np.std(values, ddof=1):.{decimals}f}"
        # Some seeds against the paper's number would be a difference that moves.
        if column.key in row.paper and len(tables) == len(read.seeds):
            text = row.paper[column.key]
            printed = schema.Printed(text, printed_number(text))
            differences[column.key] = schema.difference(mean, printed, decimals)
    return ours, differences, list(dict.fromkeys(missing))


def _scores(run: Run, options: SpotOptions) -> pd.DataFrame:
    try:
        return scores(run.frames, run.expressions, options)
    except MerError as error:
        raise MerError(f"{run.folder}: {error}") from error


def _how(read: Request, synthetic: bool) -> list[str]:
    numbers = f"{'seed' if len(read.seeds) == 1 else 'seeds'} {', '.join(map(str, read.seeds))}"
    homes = "; ".join(f"data `{data}`, protocol `{protocol}`" for data, protocol in read.homes)
    used = [words for metric, words in _DEFINITIONS.items() if metric in {c.metric for c in read.columns}]
    how = [
        f"{homes[0].upper()}{homes[1:]}, {numbers}.",
        f"Scores are counted over the pooled videos of all folds, at the last epoch: {'; '.join(used)}.",
    ]
    if any(column.metric != "auc" for column in read.columns):
        rules: dict[str, list[str]] = {}
        for row in read.rows:
            if row.variant:
                rules.setdefault(row.options.words(), []).append(row.label)
        several = len(rules) > 1
        how += [
            f"Intervals{' of ' + '; '.join(labels) if several else ''}: {words}."
            for words, labels in rules.items()
        ]
    if synthetic:
        how.append("Drawn faces: these numbers say nothing about people.")
    if len(read.seeds) > 1:
        how.append("Ours is the mean over the seeds ± their standard deviation (n - 1).")
    if any(row.paper for row in read.rows):
        how.append("The difference is ours - the paper's.")
    return how


def _data_grid(read: Request) -> Grid:
    """What was scored of each database; the same for all rows."""
    grid = Grid(["data", "protocol", "database", "videos", "frames", "inside", "expressions"], left=3)
    for home in read.homes:
        run = next((run for (_, at, _), run in read.found.items() if at == home), None)
        if run is None:
            continue
        expressions = run.expressions.groupby("database").size()
        for name, part in run.frames.groupby("database"):
            videos = len(part.drop_duplicates(["subject", "video"]))
            sizes = [videos, len(part), int(part["inside"].sum()), int(expressions.get(name, 0))]
            grid.lines.append([*home, str(name), *map(str, sizes)])
    return grid


def _runs_grid(found: Sequence[Run]) -> Grid:
    header = ["variant", "data", "protocol", "seed", "folds", "epochs", "date", "commit"]
    grid = Grid(header, left=3)
    for run in found:
        dates, commits = (
            ", ".join(sorted({str(record.get(key, ""))[:length] for record in run.records}))
            for key, length in (("date", 10), ("commit", 8))
        )
        name = f"{run.key.experiment}/{run.key.variant}{f'.{run.key.tag}' if run.key.tag else ''}"
        sizes = [run.key.seed, len(run.plan.folds), int(run.frames["epoch"].max())]
        grid.lines.append([name, run.key.data, run.key.protocol, *map(str, sizes), dates, commits])
    return grid
