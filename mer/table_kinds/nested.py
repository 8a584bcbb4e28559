"""Kind ``nested``: candidates side by side, and the one that is chosen inside each group of test subjects.

Example::

    kind: nested
    title: A configuration chosen inside each group
    data: megc2019_uvos
    protocol: loso
    inner: {protocol: inner, groups: 6, metric: uf1}
    columns:
      uf1: {subset: all, metric: uf1, header: UF1}
      uar: {subset: all, metric: uar, header: UAR}
    rows:
      - {label: Two convolutions, variant: shallow/base}
      - {label: the last ten epochs, variant: shallow/base, epochs: 10}
      - {label: three seeds, variant: shallow/base, seeds: [0, 1, 2], notes: [mean]}
    quotes:
      - {label: LAENet, paper: {uf1: .7568, uar: .7405}}
    footnotes:
      mean: The mean of their probabilities.

A row is a candidate: a variant under ``protocol``, and under ``inner.protocol`` once a group (see
`mer.data.nested`). ``epochs`` and ``seeds`` average its predictions. All rows are reported; the last line is
what the search is worth, with bootstrap intervals over subjects: for the subjects of each group, the
candidate with the best score on its inner folds, of equals the first one. ``quotes`` are numbers of papers.

Nothing is trained for it. What it reads of the runs is stored beside the table, from which it renders again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mer.errors import MerError
from mer.nested_choice import (
    TESTED,
    Candidate,
    Choice,
    choose,
    group_subjects,
    nested_predictions,
    read_candidate,
    read_stored_candidate,
    write_candidate,
)
from mer.runs import BASE_VARIANT, RunKey
from mer.scores import ALL, pooled_confusion
from mer.statistics import METRICS, bootstrap_interval, mcnemar, score_matrices
from mer.table_formats import SYNTHETIC_TITLE, Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_results import SYNTHETIC

NOT_RUN = "not run"
NESTED = "Chosen inside each group"
_KEYS = ["data", "tag", "runs_dir"]


@dataclass(frozen=True)
class _Row:
    label: str
    where: str
    notes: list[str]
    choice: Choice
    stored: Path | None
    candidate: Candidate | None


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table; ``data=``, ``tag=``, ``runs_dir=`` as of tables of scores. Writes nothing.

    Raises:
        MerError: what is wrong with the file, naming the key; or with runs that are there.
    """
    return _sheet(request, path, overrides, _read_rows(request, path, overrides))


def lay_out_and_store(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """As `lay_out`; the candidates' predictions are stored beside the table.

    Raises:
        MerError: as `lay_out`.
    """
    rows = _read_rows(request, path, overrides)
    for row in rows:
        anew = row.candidate and row.candidate.where != row.stored and not row.candidate.record.synthetic
        if row.candidate and row.stored and anew:
            write_candidate(row.stored, row.candidate)
    return _sheet(request, path, overrides, rows)


def _top(request: Mapping[str, Any], path: Path) -> dict[str, Any]:
    required = {
        **schema.TOP,
        **{"data": str, "protocol": str, "inner": dict, "columns": dict, "rows": list},
    }
    top = schema.checked(path, "", request, required, {"quotes": list, "footnotes": dict})
    schema.checked(path, "inner", top["inner"], {"protocol": str, "groups": int, "metric": str}, {})
    schema.choice(path, "inner.metric", top["inner"]["metric"], METRICS)
    if not top["rows"] or not top["columns"]:
        raise MerError(f"{path}: {'columns' if top['rows'] else 'rows'}: empty")
    return top


def _read_rows(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> list[_Row]:
    top, given = _top(request, path), schema.read_overrides(overrides, _KEYS)
    data, tag = given.get("data") or top["data"], given.get("tag", "")
    if tag:
        raise MerError(f"{path}: tag={tag}: the inner folds are told by their tags; a search has none itself")
    own = data == top["data"] != SYNTHETIC
    rows = []
    for number, value in enumerate(top["rows"], start=1):
        where = schema.place(number, value)
        optional = {"notes": list, "seeds": list, "epochs": int}
        fields = schema.checked(path, where, value, {"label": str, "variant": str}, optional)
        experiment, variant = schema.variant_parts(path, where, fields["variant"])
        seeds, epochs = fields.get("seeds", [0]), fields.get("epochs", 1)
        whole = all(isinstance(seed, int) and seed >= 0 for seed in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds) or epochs < 1:
            raise MerError(f"{path}: {where}: seeds are different whole numbers, and epochs at least 1")
        choice = Choice(
            RunKey(experiment, variant, data, top["protocol"], seeds[0]),
            tuple(seeds),
            epochs,
            top["inner"]["protocol"],
            top["inner"]["groups"],
        )
        stored = path.with_suffix("") / f"{choice.name}.parquet" if own else None
        candidate = read_candidate(choice, Path(given.get("runs_dir", "runs")))
        if candidate is None and stored is not None:
            candidate = read_stored_candidate(stored, choice)
        rows.append(
            _Row(schema.line(fields["label"]), where, fields.get("notes", []), choice, stored, candidate)
        )
    return rows


def _sheet(request: Mapping[str, Any], path: Path, overrides: Sequence[str], rows: Sequence[_Row]) -> Sheet:
    top = _top(request, path)
    inner, metric = top["inner"], top["inner"]["metric"]
    columns = {
        str(key): schema.read_score_column(path, str(key), value) for key, value in top["columns"].items()
    }
    notes = schema.Notes(path, top.get("footnotes", {}))
    there = [row for row in rows if row.candidate]
    candidates = [row.candidate for row in rows if row.candidate]
    for key, column in columns.items():
        _check_subset(path, key, column, candidates)
    subjects = group_subjects(candidates, inner["groups"]) if candidates else []
    chosen = choose(candidates, metric) if len(candidates) == len(rows) else []
    header = ["candidate", "chosen", f"inner {metric.upper()}", *(each.header for each in columns.values())]
    lines = []
    for row in rows:
        label = notes.label(row.where, row.label, row.notes, [] if row.candidate else [_missing(row.choice)])
        if row.candidate is None:
            lines.append([label, "", "", *[NOT_RUN] * len(columns)])
            continue
        tested, classes = row.candidate.of(TESTED), row.candidate.record.classes
        times = chosen.count(there.index(row))
        lines.append(
            [
                *(label, f"{times} of {len(chosen)}" if times else ""),
                schema.mean_and_spread(row.candidate.inner_scores(metric).tolist()),
                *(f"{_score(column, tested, classes):.4f}" for column in columns.values()),
            ]
        )
    how = [
        f"Data `{top['data']}`, protocol `{top['protocol']}`; inner folds `{inner['protocol']}`.",
        f"The test subjects are dealt into {inner['groups']} groups. For a group, every candidate is trained "
        f"and scored on inner folds over the other subjects alone; the best {metric.upper()} there, pooled "
        "over the folds, is chosen, and tests the group's subjects by its leave-one-subject-out run.",
        f"Inner {metric.upper()}: mean ± standard deviation (n - 1) over the groups.",
    ]
    if chosen:
        predictions, classes = nested_predictions(candidates, chosen, subjects), candidates[0].record.classes
        lines.append(
            [NESTED, "", "", *(_interval(column, predictions, classes) for column in columns.values())]
        )
        how += _findings(there, predictions, chosen)
    else:
        lines.append([NESTED, "", "", *[NOT_RUN] * len(columns)])
    lines += _quotes(path, top, columns)
    records = [candidate.record for candidate in candidates]
    synthetic = any(record.synthetic or record.data == SYNTHETIC for record in records)
    title = schema.line(top["title"])
    return Sheet(
        title=f"{SYNTHETIC_TITLE}{title}" if synthetic else title,
        caption="Only what is chosen inside each group is a result of the search: the best of the other "
        "lines is found by looking at the test clips.",
        grid=Grid(header, lines, left=2),
        footnotes=notes.listed(),
        how=[*how, *(["Drawn faces: these numbers say nothing about people."] if synthetic else [])],
        runs=schema.runs_grid(records),
        command=schema.command(path, [each for each in overrides if each.startswith("data=")]),
    )


def _findings(there: Sequence[_Row], predictions: pd.DataFrame, chosen: Sequence[int]) -> list[str]:
    """How the winner was put together, and what it is to each candidate."""
    lines = [
        "[low, high] is the 95 % percentile bootstrap interval over subjects, of 2000 draws.",
        "Chosen for the groups in turn: " + "; ".join(there[position].label for position in chosen) + ".",
    ]
    for row in there:
        assert row.candidate is not None
        b, c, p = mcnemar(predictions, row.candidate.of(TESTED))
        lines.append(
            f'McNemar\'s exact test, the nested winner against "{row.label}": {b} clips only the first gets '
            f"right, {c} only the second, p = {p:.3g}."
        )
    return [*lines, "It takes clips as independent; those of a subject are not, so p is rather too small."]


def _check_subset(path: Path, key: str, column: schema.ScoreColumn, candidates: Sequence[Candidate]) -> None:
    """Raise MerError where a column shows a database that a candidate was not tested on."""
    for candidate in candidates:
        there = sorted(set(candidate.of(TESTED)["database"]))
        if column.subset not in (ALL, *there):
            raise MerError(
                f"{candidate.where}: no database {column.subset}, as columns.{key} of {path} asks for; "
                f"it holds {', '.join(there)}"
            )


def _shown(column: schema.ScoreColumn, predictions: pd.DataFrame) -> pd.DataFrame:
    """The clips that a column shows."""
    return predictions if column.subset == ALL else predictions[predictions["database"] == column.subset]


def _score(column: schema.ScoreColumn, predictions: pd.DataFrame, classes: Sequence[str]) -> float:
    return float(score_matrices(pooled_confusion(_shown(column, predictions), classes), column.metric))


def _interval(column: schema.ScoreColumn, predictions: pd.DataFrame, classes: Sequence[str]) -> str:
    low, high = bootstrap_interval(_shown(column, predictions), classes, column.metric)
    return f"{_score(column, predictions, classes):.4f} [{low:.4f}, {high:.4f}]"


def _quotes(path: Path, top: Mapping[str, Any], columns: Mapping[str, schema.ScoreColumn]) -> list[list[str]]:
    lines = []
    for number, value in enumerate(top.get("quotes", []), start=1):
        where = f"quotes[{number}]"
        fields = schema.checked(path, where, value, {"label": str, "paper": dict}, {})
        printed = schema.read_printed(path, where, fields["paper"], columns)
        texts = (printed[key].text if key in printed else "" for key in columns)
        lines.append([f"{schema.line(fields['label'])}, quoted", "", "", *texts])
    return lines


def _missing(choice: Choice) -> str:
    key = choice.key
    name = (
        f"experiment={key.experiment}"
        if key.variant == BASE_VARIANT
        else f"variant={key.experiment}/{key.variant}"
    )
    more = f" seed={','.join(map(str, choice.seeds))}" if choice.seeds != (0,) else ""
    more += " store=every_epoch" if choice.epochs > 1 else ""
    outer = ",".join(map(str, range(choice.groups)))
    return (
        f"{NOT_RUN}: `mer train -m {name} data={key.data}{more}`, and the same with "
        f"`protocol={choice.inner} protocol.outer={outer}`, make it"
    )
