"""Annotation sheets: .xlsx, .xls, .csv; columns by name, wherever the header is; every cell as text."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from python_calamine import CalamineError, CalamineWorkbook

from mer.errors import MerError

Cell = str | None


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
        MerError: the file cannot be read, or has no header with these columns: the nearest is shown.
    """
    cells = read_cells(path, sheet=sheet)
    wanted = {ours.removesuffix("?"): [_plain(name) for name in names] for ours, names in columns.items()}
    needed = [ours for ours in columns if not ours.endswith("?")]
    best: list[str] = []
    for number, row in enumerate(cells):
        header = [_plain(cell or "") for cell in row]
        found = {
            ours: next((header.index(name) for name in names if name in header), None)
            for ours, names in wanted.items()
        }
        if all(found[ours] is not None for ours in needed):
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
    if not path.is_file():
        raise MerError(f"{path}: no such annotation file; check data.root")
    if path.suffix.lower() == ".csv":
        return _csv_cells(path)
    try:
        book = CalamineWorkbook.from_path(path)
        names = [name for name in book.sheet_names if sheet is None or _plain(name).startswith(_plain(sheet))]
        if not names:
            raise MerError(f"{path}: no sheet {sheet}; there are {', '.join(book.sheet_names)}")
        rows = book.get_sheet_by_name(names[0]).to_python(skip_empty_area=False)
    except (CalamineError, OSError) as error:
        raise MerError(f"{path}: not a spreadsheet that can be read ({error}); copy it again") from error
    return [[_text(cell) for cell in row] for row in rows]


def _csv_cells(path: Path) -> list[list[Cell]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # what old spreadsheet programs write
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [[cell.strip() or None for cell in row] for row in rows]


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


def _text(cell: object) -> Cell:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() or None


def _plain(name: str) -> str:
    return "".join(name.split()).replace("_", "").casefold()
