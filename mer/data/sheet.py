"""Annotation sheets: .xlsx, .xls, .csv; columns by name, wherever the header is; every cell as text."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mer.data.landmarks import is_file
from mer.data.workbook import Cell as Cell
from mer.data.workbook import plain, workbook_cells
from mer.errors import MerError


def read_sheet(path: Path, columns: Mapping[str, Sequence[str]], *, sheet: str | None = None) -> pd.DataFrame:
    """The rows under a sheet's header, as text.

    The header is the first row that holds a name of every column. Names are compared without blanks,
    underscores and case: ``Onset Frame`` is ``OnsetFrame``. Rows that are empty in all columns are
    passed over, as are the columns that nobody asked for.

    Args:
        path: .xlsx, .xls or .csv (UTF-8, else Latin-1; comma, semicolon or tab).
        columns: our name -> the names that releases use. A name that ends in ``?`` may be absent: its
            cells are None then.
        sheet: name of the sheet, by its beginning, as in the workbook; None is the first.

    Returns:
        One row a clip: our columns, text without surrounding blanks or None; and ``row``, the number that
        a spreadsheet program shows.

    Raises:
        MerError: the file cannot be read, or has no header with these columns: the nearest is shown; a row
            above the header that looks like a clip; two columns of one name that differ.
    """
    cells = read_cells(path, sheet=sheet)
    wanted = {ours.removesuffix("?"): [plain(name) for name in names] for ours, names in columns.items()}
    needed = [ours for ours in columns if not ours.endswith("?")]
    best: list[str] = []
    for number, row in enumerate(cells):
        header = [plain(cell or "") for cell in row]
        found = {
            ours: next((header.index(name) for name in names if name in header), None)
            for ours, names in wanted.items()
        }
        if all(found[ours] is not None for ours in needed):
            _check_header(path, cells, number, header, found, needed)
            return _rows(cells, number + 1, found)
        here = [ours for ours in needed if found[ours] is not None]
        best = max(best, here, key=len)
    lacking = ", ".join(columns[ours][0] for ours in needed if ours not in best)
    raise MerError(
        f"{path}: no header row with the column(s) {lacking}; this is another version of the annotation file "
        "than those known: use the original, or rename its columns"
    )


def read_cells(path: Path, *, sheet: str | None = None) -> list[list[Cell]]:
    """All cells of one sheet as text, rows and columns as they lie; whole numbers without a point.

    Raises:
        MerError: the file is missing, no spreadsheet, or lacks the sheet.
    """
    if not is_file(path):
        raise MerError(f"{path}: no such annotation file; check data.root")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".xlsx", ".xls"):
        raise MerError(f"{path}: an annotation file is .xlsx, .xls or .csv; save it as one of these")
    return _csv_cells(path) if suffix == ".csv" else workbook_cells(path, sheet)


def _csv_cells(path: Path) -> list[list[Cell]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MerError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if b"\0" in content:  # which no text has, but UTF-16 and .xlsx under another name
        raise MerError(f"{path}: not a text table; save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # what old spreadsheet programs write
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    # Strict: a quote that is never closed would swallow the rows below it.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    cells: list[list[Cell]] = []
    try:
        for row in rows:
            cells.append([cell.strip() or None for cell in row])
    except csv.Error as error:
        raise MerError(
            f"{path}: row {len(cells) + 1} is no row of a CSV file ({error}); is a quote not closed?"
        ) from error
    return cells


def _check_header(
    path: Path,
    cells: list[list[Cell]],
    number: int,
    header: list[str],
    found: Mapping[str, int | None],
    needed: Sequence[str],
) -> None:
    """Raise MerError where a clip stands above the header, or two columns of one name differ."""
    for above, row in enumerate(cells[:number]):
        # A preamble does not fill every column.
        if all(at < len(row) and row[at] for ours in needed if (at := found[ours]) is not None):
            raise MerError(
                f"{path}: row {above + 1} looks like a clip but stands above the header in row {number + 1}; "
                "move it below, or remove it"
            )
    for ours, at in found.items():
        same = [place for place, name in enumerate(header) if at is not None and name == header[at]]
        if any(
            len({row[place] if place < len(row) else None for place in same}) > 1 for row in cells[number:]
        ):
            raise MerError(
                f"{path}: {len(same)} columns are named {cells[number][same[0]]} and differ; keep the right "
                f"one as the column of the {ours}"
            )


def _rows(cells: list[list[Cell]], start: int, found: Mapping[str, int | None]) -> pd.DataFrame:
    rows = [
        {
            **{ours: row[at] if at is not None and at < len(row) else None for ours, at in found.items()},
            "row": number + 1,
        }
        for number, row in enumerate(cells[start:], start)
    ]
    table = pd.DataFrame(rows, columns=[*found, "row"]).astype(dict.fromkeys(found, "object"))
    table = table.where(table.notna(), None)
    return table[table[list(found)].notna().any(axis=1)].reset_index(drop=True)
