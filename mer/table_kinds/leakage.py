"""Kind ``leakage``: how many points it is worth to choose the epoch on the test clips.

Example::

    kind: leakage
    title: What choosing the epoch on the test clips is worth
    data: megc2019_uvos
    protocol: loso
    seeds: [0, 1, 2]
    columns:
      uf1: {subset: all, metric: uf1, header: UF1}
      uar: {subset: all, metric: uar, header: UAR}
    rows:
      - {label: LAENet, variant: laenet/base, notes: [settings]}
      - {label: STSTNet, variant: ststnet/base}
    footnotes:
      settings: LAENet prints no training settings.

A row is a variant. Each column gives the score at the last epoch, and under both leaky rules of
`mer.selection` with the points that they are worth, the mean and the spread over the seeds that have run.

It needs runs that were trained with ``store=every_epoch``; nothing is trained for it. What it counts of a run
(a confusion matrix of each fold and epoch) is stored beside the table, from which it renders again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer import selection
from mer.epoch_counts import RULES, EpochCounts, check_together, count_run, read_counts, write_counts
from mer.errors import MerError
from mer.runs import BASE_VARIANT, RunKey
from mer.table_formats import SYNTHETIC_TITLE, Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_results import SYNTHETIC

NOT_RUN = "not run"
_KEYS = ["data", "seeds", "tag", "runs_dir"]
_HEADERS = {
    selection.LAST: "last",
    selection.BEST_ON_TEST_PER_FOLD: "LEAK: best on test, each fold",
    selection.BEST_ON_TEST_EPOCH: "LEAK: best on test, one epoch",
}


@dataclass(frozen=True)
class Leak:
    """A row: a variant, and the counts of its seeds.

    Attributes:
        label: as the table shows it, without marks of footnotes.
        where: in the file.
        notes: keys of footnotes.
        counts: of the seeds that have run; with ``stored``, where those of each lie or belong.
        stored: empty for what is no result of the table's own data.
        missing: why there is none.
    """

    label: str
    where: str
    notes: list[str]
    counts: list[EpochCounts]
    stored: list[Path]
    missing: str


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table; ``data=``, ``seeds=``, ``tag=``, ``runs_dir=`` as of tables of scores. Writes nothing.

    Raises:
        MerError: what is wrong with the file, naming the key; or with runs that are there.
    """
    return _sheet(request, path, overrides, read_rows(request, path, overrides))


def lay_out_and_store(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """As `lay_out`; the counts of runs are stored beside the table.

    Raises:
        MerError: as `lay_out`.
    """
    rows = read_rows(request, path, overrides)
    for row in rows:
        for counts, place in zip(row.counts, row.stored, strict=False):
            if counts.where != place and not counts.record.synthetic:
                write_counts(place, counts)
    return _sheet(request, path, overrides, rows)


def read_rows(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> list[Leak]:
    """The rows of the file with their counts: from the runs, else from beside the table.

    Raises:
        MerError: as `lay_out`.
    """
    given = schema.read_overrides(overrides, _KEYS)
    top = _top(request, path)
    data, tag = given.get("data") or top["data"], given.get("tag", "")
    own = data == top["data"] != SYNTHETIC and not tag
    seeds = _seeds(path, top, given)
    rows = []
    for number, value in enumerate(top["rows"], start=1):
        where = schema.place(number, value)
        fields = schema.checked(path, where, value, {"label": str, "variant": str}, {"notes": list})
        experiment, variant = schema.variant_parts(path, where, fields["variant"])
        counts, stored = [], []
        for seed in seeds:
            key = RunKey(experiment, variant, data, top["protocol"], seed, tag)
            place = path.with_suffix("") / f"{experiment}.{variant}.seed-{seed}.parquet"
            found = count_run(key, Path(given.get("runs_dir", "runs")))
            if found is None and own:
                found = read_counts(place, key)
            if found is not None:
                counts.append(found)
                stored += [place] if own else []
        missing = "" if counts else _missing(fields["variant"], data, top["protocol"])
        label = schema.line(fields["label"])
        rows.append(Leak(label, where, fields.get("notes", []), counts, stored, missing))
    check_together([counts for row in rows for counts in row.counts])
    return rows


def _sheet(request: Mapping[str, Any], path: Path, overrides: Sequence[str], rows: Sequence[Leak]) -> Sheet:
    top = _top(request, path)
    columns = [schema.read_score_column(path, str(key), value) for key, value in top["columns"].items()]
    notes = schema.Notes(path, top.get("footnotes", {}))
    header = ["method", "seeds"]
    for column in columns:
        header += [f"{column.header}, {_HEADERS[selection.LAST]}"]
        for rule in RULES[1:]:
            header += [f"{column.header}, {_HEADERS[rule]}", "points"]
    lines = []
    for row in rows:
        label = notes.label(row.where, row.label, row.notes, [row.missing] if row.missing else [])
        there = ", ".join(str(counts.record.seed) for counts in row.counts)
        cells = [cell for column in columns for cell in _cells(row.counts, column)]
        lines.append([label, there, *cells])
    records = [counts.record for row in rows for counts in row.counts]
    synthetic = any(record.synthetic or record.data == SYNTHETIC for record in records)
    title = schema.line(top["title"])
    given = schema.read_overrides(overrides, _KEYS)
    data = given.get("data") or top["data"]
    seeds = ", ".join(map(str, _seeds(path, top, given)))
    return Sheet(
        title=f"{SYNTHETIC_TITLE}{title}" if synthetic else title,
        caption="Scores under LEAK are too high: the test clips chose the epoch. They show by how much.",
        grid=Grid(header, lines, left=2),
        footnotes=notes.listed(),
        how=[
            f"Data `{data}`, protocol `{top['protocol']}`, seeds {seeds}; rows name those that have run.",
            "Scores are counted over the pooled predictions of all folds.",
            *(f"{_HEADERS[rule]}: {selection.describe(rule).removeprefix('LEAK: ')}." for rule in RULES),
            "The rules look at all clips, also where a column shows one database.",
            "Points: 100 x (the score - that of the last epoch); negative where another score chose.",
            "Mean ± standard deviation (n - 1) over the seeds.",
            *(["Drawn faces: these numbers say nothing about people."] if synthetic else []),
        ],
        runs=schema.runs_grid(records),
        command=schema.command(path, [each for each in overrides if each.startswith(("data=", "seeds="))]),
        flat=_flat(rows, columns),
    )


def _top(request: Mapping[str, Any], path: Path) -> dict[str, Any]:
    required = {**schema.TOP, "data": str, "protocol": str, "seeds": list, "columns": dict, "rows": list}
    top = schema.checked(path, "", request, required, {"footnotes": dict})
    if not top["rows"] or not top["columns"]:
        raise MerError(f"{path}: {'columns' if top['rows'] else 'rows'}: empty")
    return top


def _seeds(path: Path, top: Mapping[str, Any], given: Mapping[str, str]) -> list[int]:
    words = given["seeds"].split(",") if "seeds" in given else [str(seed) for seed in top["seeds"]]
    if not words or not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise MerError(f"{path}: seeds={','.join(words)}: different whole numbers are needed, as in 0,1")
    return [int(word) for word in words]


def _missing(variant: str, data: str, protocol: str) -> str:
    experiment, _, name = variant.partition("/")
    what = f"experiment={experiment}" if name == BASE_VARIANT else f"variant={variant}"
    return f"{NOT_RUN}: `mer train {what} data={data} protocol={protocol} store=every_epoch` makes it"


def _values(counts: Sequence[EpochCounts], column: schema.ScoreColumn) -> dict[str, list[float]]:
    """By rule, a score a seed."""
    return {rule: [each.score(rule, column.metric, column.subset) for each in counts] for rule in RULES}


def _cells(counts: Sequence[EpochCounts], column: schema.ScoreColumn) -> list[str]:
    if not counts:
        return [NOT_RUN, *[NOT_RUN, ""] * (len(RULES) - 1)]
    values = _values(counts, column)
    cells = [schema.mean_and_spread(values[selection.LAST])]
    for rule in RULES[1:]:
        cells += [schema.mean_and_spread(values[rule]), schema.mean_and_spread(_points(values, rule), 2, "+")]
    return cells


def _points(values: Mapping[str, Sequence[float]], rule: str) -> list[float]:
    """Rounded: equal scores are worth nothing, also where floats differ."""
    pairs = zip(values[rule], values[selection.LAST], strict=True)
    return [round(100 * (score - last), 10) + 0.0 for score, last in pairs]


def _flat(rows: Sequence[Leak], columns: Sequence[schema.ScoreColumn]) -> Grid:
    """One line a row, column, rule and seed."""
    lines: list[list[str]] = []
    for row in rows:
        for column in columns:
            values = _values(row.counts, column)
            if not row.counts:
                lines.append([row.label, column.header, "", "", NOT_RUN, ""])
            for rule in RULES if row.counts else ():
                scored = zip(row.counts, values[rule], _points(values, rule), strict=True)
                lines += [
                    [
                        *(row.label, column.header, rule, str(counts.record.seed), f"{score:.4f}"),
                        "" if rule == selection.LAST else f"{points:+.2f}",
                    ]
                    for counts, score, points in scored
                ]
    return Grid(["method", "column", "rule", "seed", "score", "points"], lines, left=3)
