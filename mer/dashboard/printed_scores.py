"""Every score of every paper's table, printed and ours, as one list: what papers are compared by."""

from collections.abc import Iterator
from dataclasses import dataclass

from mer.scores import ALL
from mer.table_cells import Cell, RowCells
from mer.table_file import Column, Table, printed_number

METRICS = {"accuracy": "accuracy", "f1": "F1-score", "uf1": "UF1", "uar": "UAR"}


@dataclass(frozen=True)
class PrintedScore:
    """A cell of a table of scores; at least one of ``printed`` and ``ours`` is there.

    Attributes:
        paper: the folder of the table.
        table: the file's name, without suffix.
        method: the row's label.
        data: whose clips are scored, as in ``data=``; with the database where only one of several is scored.
        metric: as `METRICS` writes it.
        printed: 0..1.
        ours: 0..1, the mean over the seeds.
        ours_text: with spread or interval.
        quoted: the paper took the number from another one.
        synthetic: ours is of drawn faces.
    """

    paper: str
    table: str
    method: str
    data: str
    metric: str
    printed: float | None
    ours: float | None
    ours_text: str
    quoted: bool
    synthetic: bool


def printed_scores(table: Table, rows: list[RowCells], *, synthetic: bool) -> Iterator[PrintedScore]:
    """The cells of a table of scores that hold a number, row by row."""
    for row in rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            score = _score(table, row, column, cell, synthetic=synthetic)
            if score.printed is not None or score.ours is not None:
                yield score


def _score(table: Table, row: RowCells, column: Column, cell: Cell, *, synthetic: bool) -> PrintedScore:
    return PrintedScore(
        paper=table.path.parent.name,
        table=table.path.stem,
        method=row.row.label,
        data=column.data if column.subset == ALL else f"{column.data}: {column.subset}",
        metric=METRICS[column.metric],
        printed=printed_number(cell.paper) if cell.paper else None,
        ours=sum(cell.scores) / len(cell.scores) if cell.scores else None,
        ours_text=cell.ours if cell.scores else "",
        quoted=row.row.quote,
        synthetic=synthetic and bool(cell.scores),
    )
