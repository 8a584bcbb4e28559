"""Kind ``confusion``: confusion matrices of our runs, beside those that the paper prints.

Example::

    kind: confusion
    title: "LAENet, table 6: confusion matrices"
    paper: {name: LAENet, table: 6, caption: The confusion matrix of LAENet}
    predictions: table4
    matrices:
      - label: SMIC
        variant: laenet/base
        subset: smic
        share: row
        classes: {negative: Neg, positive: Pos, surprise: Sur}
        paper:
          - [77.14, 15.71, 7.14]
          - [29.41, 62.75, 7.84]
          - [34.88, 9.30, 55.81]
        notes: [settings]
    footnotes:
      settings: LAENet prints no training settings.

``predictions`` (of the table, or of a matrix) names the table of scores beside this file whose runs these
are: its data, protocol, seeds and ``select`` hold here too. A matrix has ``variant``, a row of that table;
``data`` and ``protocol``, where a column of that table has others than the table; ``subset``, ``all``
(default) or a database; ``classes``, class -> the paper's name, in the paper's order; ``share``, what a cell
is printed as: ``row``, percent of the clips of its true class, or ``all``, the fraction of all clips;
``paper``, a line of cells for each true class; ``notes``. Several seeds are added up before the shares are
taken.

Nothing is trained for it: `mer table` on ``predictions`` does that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mer.errors import MerError
from mer.plots import confusion_figure
from mer.runs import RunKey
from mer.scores import ALL, pooled_confusion
from mer.selection import describe
from mer.table_cells import missing as needs_of
from mer.table_file import Table, load_table
from mer.table_formats import Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_needs import lacking
from mer.table_results import SYNTHETIC, Result, Storage, read_run

NOT_RUN = "not run"
DECIMALS = {"row": 2, "all": 4}
_SHARES = {
    "row": "percent of the clips of their true class",
    "all": "fractions of all clips of the matrix",
}
_OPTIONAL: Mapping[str, Any] = {
    "predictions": str,
    "data": str,
    "protocol": str,
    "subset": str,
    "paper": list,
    "notes": list,
}


@dataclass(frozen=True)
class Matrix:
    """A printed matrix and ours.

    Attributes:
        label: as the table shows it, without marks of footnotes.
        where: in the file.
        classes: class -> the paper's name, in the paper's order.
        share: ``row`` or ``all``.
        paper: printed cells by (true, predicted) class; empty where the paper prints none.
        notes: keys of footnotes.
        results: of ours, one a seed.
        counts: (K, K) clips, rows true, columns predicted, all seeds added; None where nothing has run.
        missing: why there are none.
        rule: of `mer.selection`.
    """

    label: str
    where: str
    classes: dict[str, str]
    share: str
    paper: dict[tuple[str, str], schema.Printed]
    notes: list[str]
    results: list[Result]
    counts: NDArray[np.int64] | None
    missing: str
    rule: str


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of confusion matrices; ``data=``, ``seeds=``, ``tag=``, ``runs_dir=`` as of tables of scores.

    Raises:
        MerError: what is wrong with the file, naming the key; or with predictions that are there.
    """
    matrices = read_matrices(request, path, overrides)
    notes = schema.Notes(path, request.get("footnotes", {}))
    # Matrices of other classes stand in the same columns, each under its own names.
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix.classes.values()))
    lines: list[list[str]] = []
    for matrix in matrices:
        more = [matrix.missing] if matrix.missing else []
        label = notes.label(matrix.where, matrix.label, matrix.notes, more)
        block = [cells for true in matrix.classes for cells in _row(matrix, true, names)]
        lines += [[label if not number else "", *cells] for number, cells in enumerate(block)]
    results = [result for matrix in matrices for result in matrix.results]
    synthetic = any(result.record.synthetic for result in results)
    title = schema.line(request["title"])
    shares = "; or ".join(_SHARES[share] for share in dict.fromkeys(matrix.share for matrix in matrices))
    grid = Grid(["matrix", "true", "line", *names, "clips"], lines, left=3)
    return Sheet(
        title=f"SYNTHETIC DATA: {title}" if synthetic else title,
        caption=schema.caption(path, request),
        grid=grid,
        footnotes=notes.listed(),
        how=[
            f"Rows are true classes, columns predicted ones; cells are {shares}.",
            *(f"Counted {describe(rule)}." for rule in dict.fromkeys(matrix.rule for matrix in matrices)),
            *(["Drawn faces: these numbers say nothing about people."] if synthetic else []),
            "The difference is ours - the paper's.",
        ],
        runs=schema.runs_grid(result.record for result in results),
        command=schema.command(path, [override for override in overrides if override.startswith("data=")]),
        flat=schema.flat(grid, names=2),
    )


def figures(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> dict[str, Figure]:
    """Ours as figures, by a name for their files: ``<table's file>.<label>``. None where nothing has run.

    Raises:
        MerError: as :func:`lay_out`; or two labels that give one name.
    """
    drawn: dict[str, Figure] = {}
    names: set[str] = set()
    for matrix in read_matrices(request, path, overrides):
        name = f"{path.stem}.{re.sub('[^a-z0-9]+', '-', matrix.label.lower()).strip('-')}"
        if name in names:
            raise MerError(f"{path}: {matrix.where}: another has the file name {name}; change the label")
        names.add(name)
        if matrix.counts is None:
            continue
        seeds = ", ".join(str(result.record.seed) for result in matrix.results)
        several = "seeds" if len(matrix.results) > 1 else "seed"
        mark = "SYNTHETIC DATA: " if any(each.record.synthetic for each in matrix.results) else ""
        first = matrix.results[0].record
        title = f"{mark}{matrix.label}: {first.name} on {first.data}, {several} {seeds}"
        drawn[name] = confusion_figure(matrix.counts, list(matrix.classes.values()), title)
    return drawn


def read_matrices(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> list[Matrix]:
    """The matrices of the file, with ours where there are predictions.

    Raises:
        MerError: what is wrong with the file, naming the key; or with predictions that are there.
    """
    given = schema.read_overrides(overrides, ["data", "seeds", "tag", "runs_dir"])
    optional = {**schema.TOP_OPTIONAL, "predictions": str}
    top = schema.checked(path, "", request, {**schema.TOP, "matrices": list}, optional)
    if not top["matrices"]:
        raise MerError(f"{path}: matrices: empty")
    matrices = []
    for number, value in enumerate(top["matrices"], start=1):
        where = schema.place(number, value).replace("rows", "matrices", 1)
        required = {"label": str, "variant": str, "classes": dict, "share": str}
        fields = schema.checked(path, where, value, required, _OPTIONAL)
        schema.choice(path, f"{where}.share", fields["share"], DECIMALS)
        source = fields.get("predictions", top.get("predictions"))
        if source is None:
            raise MerError(f"{path}: {where}.predictions: missing; name a table of scores beside this file")
        table = load_table(path.parent / f"{source}.yaml")
        matrices.append(_matrix(path, where, fields, table, given))
    return matrices


def _matrix(
    path: Path, where: str, fields: Mapping[str, Any], table: Table, given: Mapping[str, str]
) -> Matrix:
    classes = {str(key): str(name) for key, name in fields["classes"].items()}
    if len(set(classes.values())) < len(classes) or not classes:
        raise MerError(f"{path}: {where}.classes: a different name for each class is needed")
    home = (fields.get("data", table.data), fields.get("protocol", table.protocol))
    if home not in table.homes or fields["variant"] not in {row.variant for row in table.rows}:
        raise MerError(
            f"{path}: {where}: {table.path.name} shows no {fields['variant']} on {home[0]} ({home[1]})"
        )
    data, protocol = given.get("data") or home[0], home[1]
    results = _results(table, fields["variant"], data, protocol, given)
    counts, missing = None, ""
    if results:
        counts = sum(
            (
                _counts(result, fields.get("subset", ALL), list(classes), f"{path}: {where}")
                for result in results
            ),
            np.zeros((len(classes), len(classes)), dtype=np.int64),
        )
    elif lost := _needs(table, fields["variant"], data):
        missing = f"{NOT_RUN}: needs {lost} under data.root"
    else:
        missing = f"{NOT_RUN}: `mer table` on {table.path.name} makes its predictions"
    return Matrix(
        label=schema.line(fields["label"]),
        where=where,
        classes=classes,
        share=fields["share"],
        paper=_printed(path, f"{where}.paper", fields.get("paper"), list(classes)),
        notes=fields.get("notes", []),
        results=results,
        counts=counts,
        missing=missing,
        rule=table.select,
    )


def _needs(table: Table, variant: str, data: str) -> str:
    """The databases that this machine lacks of all that a run of the variant reads, its start included."""
    return needs_of(table, variant, data, {name: lacking(name) for name in table.reads(variant, data)})


def _results(table: Table, variant: str, data: str, protocol: str, given: Mapping[str, str]) -> list[Result]:
    """The complete results of a variant, one a seed; from the runs, else from beside the table of scores."""
    experiment, name = variant.split("/")
    tag = given.get("tag", "")
    own = not tag and not given.get("data") and data != SYNTHETIC
    storage = Storage(table.path.with_suffix(""), table.data, table.protocol, table.select)
    try:
        seeds = [int(seed) for seed in given["seeds"].split(",")] if "seeds" in given else table.seeds
    except ValueError as error:
        raise MerError(f"seeds={given['seeds']}: whole numbers with commas, as in seeds=0,1") from error
    found = []
    for seed in seeds:
        key = RunKey(experiment, name, data, protocol, seed, tag)
        result = read_run(key, Path(given.get("runs_dir", "runs")), select=table.select)
        if result is None and own:
            result = storage.read(key)
        found += [result] if result else []
    return found


def _counts(result: Result, subset: str, classes: Sequence[str], where: str) -> NDArray[np.int64]:
    """(K, K) clips in the order of ``classes``."""
    ours = result.record.classes
    if sorted(ours) != sorted(classes):
        raise MerError(
            f"{where}.classes: {', '.join(classes)}; {result.where} has the classes {', '.join(ours)}"
        )
    predictions = result.predictions
    if subset != ALL:
        predictions = predictions[predictions["database"] == subset]
    if predictions.empty:
        raise MerError(f"{where}.subset={subset}: {result.where} holds no clip of it")
    order = [ours.index(name) for name in classes]
    return pooled_confusion(predictions, ours)[np.ix_(order, order)]


def _printed(
    path: Path, where: str, value: list[Any] | None, classes: Sequence[str]
) -> dict[tuple[str, str], schema.Printed]:
    if value is None:
        return {}
    if len(value) != len(classes) or not all(
        isinstance(line, list) and len(line) == len(classes) for line in value
    ):
        raise MerError(f"{path}: {where}: {len(classes)} lines of {len(classes)} cells are needed")
    return {
        (true, predicted): cell
        for true, line in zip(classes, value, strict=True)
        for predicted, cell in schema.read_printed(
            path, f"{where}.{true}", dict(zip(classes, line, strict=True)), classes
        ).items()
    }


def _row(matrix: Matrix, true: str, names: Sequence[str]) -> list[list[str]]:
    """The lines of a true class: its name, what the line is, a cell a name, the clips."""
    paper = {
        name: matrix.paper[true, predicted]
        for predicted, name in matrix.classes.items()
        if (true, predicted) in matrix.paper
    }
    ours = None if matrix.paper else dict.fromkeys(matrix.classes.values(), NOT_RUN)
    differences: dict[str, str] = {}
    if matrix.counts is not None:
        decimals = DECIMALS[matrix.share]
        own = matrix.counts[list(matrix.classes).index(true)]
        whole = own.sum() / 100 if matrix.share == "row" else matrix.counts.sum()
        clips = own.sum() / len(matrix.results)
        ours = {"clips": f"{clips:g}"}
        if whole:
            shares = dict(zip(matrix.classes.values(), (own / whole).tolist(), strict=True))
            ours |= {name: f"{share:.{decimals}f}" for name, share in shares.items()}
            differences = {
                name: schema.difference(share, paper.get(name), decimals) for name, share in shares.items()
            }
    columns = [*names, "clips"]
    return schema.block(matrix.classes[true], columns, paper=paper, ours=ours, differences=differences)
