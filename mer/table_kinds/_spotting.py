"""Reads a table of kind ``spotting``: its file, and the runs that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mer import runs
from mer.errors import MerError
from mer.runs import BASE_VARIANT, RunKey
from mer.scores import ALL
from mer.spotting_scores import SpotOptions
from mer.table_file import Home, printed_number
from mer.table_kinds import _schema as schema
from mer.table_results import SYNTHETIC, check_made_as

# Of each score: digits after the point.
DECIMALS = {"auc": 4, "interval_f1": 4, "interval_precision": 4, "interval_recall": 4, "false_alarms": 2}


@dataclass(frozen=True)
class Column:
    """One score, of all videos or of a database."""

    key: str
    header: str
    metric: str
    subset: str
    home: Home


@dataclass(frozen=True)
class Row:
    """One method."""

    label: str
    where: str
    variant: str | None
    not_run: str
    quote: bool
    notes: list[str]
    paper: dict[str, str]
    options: SpotOptions


@dataclass(frozen=True)
class Run:
    """The scored frames and the expressions of one complete run, at its last epoch."""

    folder: Path
    key: RunKey
    plan: runs.Plan
    frames: pd.DataFrame
    expressions: pd.DataFrame
    records: list[dict[str, Any]]  # run.yaml of each fold

    @property
    def synthetic(self) -> bool:
        """Whether the faces are drawn."""
        return self.plan.synthetic or self.key.data == SYNTHETIC


@dataclass(frozen=True)
class Request:
    """The table's file, checked, and ours."""

    columns: list[Column]
    rows: list[Row]
    seeds: list[int]
    found: dict[tuple[str, Home, int], Run]
    commands: dict[tuple[str, Home], str]

    @property
    def homes(self) -> list[Home]:
        """The (data, protocol) of the columns."""
        return list(dict.fromkeys(column.home for column in self.columns))

    def of(self, row: Row, home: Home) -> list[Run]:
        """The runs of a row, one a seed."""
        keys = [(row.variant or "", home, seed) for seed in self.seeds]
        return [self.found[key] for key in keys if key in self.found]


def read_table(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Request:
    """The columns and rows of the file, with the runs that are complete.

    Raises:
        MerError: what is wrong with the file, naming the key; or with runs that are there.
    """
    given = schema.read_overrides(overrides, ["data", "seeds", "tag", "runs_dir"])
    required = {**schema.TOP, "data": str, "protocol": str, "seeds": list, "columns": dict, "rows": list}
    top = schema.checked(path, "", request, required, {**schema.TOP_OPTIONAL, "spot": dict})
    seeds = _seeds(path, top["seeds"], given.get("seeds"))
    home = (top["data"], top["protocol"])
    columns = [_column(path, str(key), value, home, given) for key, value in top["columns"].items()]
    options = _options(path, "spot", top.get("spot", {}), SpotOptions())
    rows = [
        _row(path, number, value, [column.key for column in columns], options)
        for number, value in enumerate(top["rows"], start=1)
    ]
    if not columns or not rows:
        raise MerError(f"{path}: {'rows' if columns else 'columns'}: empty")
    labels = [row.label for row in rows]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise MerError(f"{path}: rows: the label {twice[0]!r} stands twice")
    found, commands = {}, {}
    for variant in dict.fromkeys(row.variant for row in rows if row.variant):
        for home in dict.fromkeys(column.home for column in columns):
            experiment, name = variant.split("/")
            for seed in seeds:
                key = RunKey(experiment, name, *home, seed, given.get("tag", ""))
                if run := _read_run(key, Path(given.get("runs_dir", "runs"))):
                    found[variant, home, seed] = run
            commands[variant, home] = _command(key, seeds)
    _check_together(list(found.values()))
    return Request(columns, rows, seeds, found, commands)


def _seeds(path: Path, listed: list[Any], given: str | None) -> list[int]:
    try:
        seeds = listed if given is None else [int(seed) for seed in given.split(",")]
    except ValueError as error:
        raise MerError(f"seeds={given}: whole numbers with commas, as in seeds=0,1") from error
    if (
        not seeds
        or not all(type(seed) is int and seed >= 0 for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise MerError(f"{path}: seeds: different whole numbers from 0 are needed, not {seeds}")
    return seeds


def _column(path: Path, key: str, value: Any, home: Home, given: Mapping[str, str]) -> Column:
    where = f"columns.{key}"
    optional = {"subset": str, "data": str, "protocol": str}
    cells = schema.checked(path, where, value, {"metric": str, "header": str}, optional)
    schema.choice(path, f"{where}.metric", cells["metric"], DECIMALS)
    data = given.get("data") or cells.get("data", home[0])
    protocol = cells.get("protocol", home[1])
    return Column(key, cells["header"], cells["metric"], cells.get("subset", ALL), (data, protocol))


def _row(path: Path, number: int, value: Any, columns: list[str], options: SpotOptions) -> Row:
    where = schema.place(number, value)
    optional = {"variant": str, "not_run": str, "paper": dict, "quote": bool, "notes": list, "spot": dict}
    cells = schema.checked(path, where, value, {"label": str}, optional)
    if len(cells.keys() & {"variant", "not_run"}) != 1:
        raise MerError(f"{path}: {where}: exactly one of variant and not_run is needed")
    variant = cells.get("variant")
    if variant is not None:
        schema.variant_parts(path, where, variant)
    paper = {}
    for key, printed in schema.read_printed(path, f"{where}.paper", cells.get("paper"), columns).items():
        try:
            printed_number(printed.text)
        except ValueError as error:
            raise MerError(f"{path}: {where}.paper.{key}: {printed.text!r} is no number") from error
        paper[key] = printed.text
    return Row(
        label=schema.line(cells["label"]),
        where=where,
        variant=variant,
        not_run=schema.line(cells.get("not_run", "")),
        quote=cells.get("quote", False),
        notes=cells.get("notes", []),
        paper=paper,
        options=_options(path, f"{where}.spot", cells.get("spot", {}), options),
    )


def _options(path: Path, where: str, value: Mapping[str, Any], below: SpotOptions) -> SpotOptions:
    names = dict.fromkeys((field.name for field in fields(SpotOptions)), (bool, int, float, str))
    cells = schema.checked(path, where, value, {}, names)
    # A table's numbers with a point are text, as they are written.
    parsed: dict[str, Any] = {
        key: cell if key == "unit" or not isinstance(cell, str) else _float(cell)
        for key, cell in cells.items()
    }
    try:
        return replace(below, **parsed)
    except MerError as error:
        raise MerError(f"{path}: {where}: {str(error).removeprefix('spot: ')}") from error


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _read_run(key: RunKey, runs_dir: Path) -> Run | None:
    """A complete run, None where there is none."""
    folder = key.folder(runs_dir)
    plan = runs.finished_plan(folder)
    if plan is None:
        return None
    records = runs.read_records(folder, plan.folds)
    for record in records.values():
        check_made_as(key, record, folder)
    frames, expressions = runs.read_spotting(folder, records=records)
    last = frames.groupby("fold")["epoch"].transform("max")
    return Run(folder, key, plan, frames[frames["epoch"] == last], expressions, list(records.values()))


def _check_together(found: Sequence[Run]) -> None:
    """Refuse runs of one (data, protocol) that scored other frames."""
    first: dict[Home, Run] = {}
    columns = ["database", "subject", "video", "frame", "inside"]
    for run in found:
        reference = first.setdefault((run.key.data, run.key.protocol), run)
        ours, theirs = (
            each.frames[columns].sort_values(columns[:-1], ignore_index=True) for each in (run, reference)
        )
        if run is not reference and not ours.equals(theirs):
            raise MerError(
                f"{reference.folder} and {run.folder} do not fit in one table: other frames or expressions"
            )


def _command(key: RunKey, seeds: Sequence[int]) -> str:
    """The command that makes a variant's runs."""
    several = len(seeds) > 1
    words = ["mer train", *(["-m"] if several else []), f"experiment={key.experiment}"]
    if key.variant != BASE_VARIANT:
        words.append(f"variant={key.experiment}/{key.variant}")
    words += [f"data={key.data}", f"protocol={key.protocol}", f"seed={','.join(map(str, seeds))}"]
    return " ".join([*words, *([f"tag={key.tag}"] if key.tag else [])])
