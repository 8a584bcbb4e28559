"""The cells of workbooks: .xlsx and .xls, read without trusting what they say of their size.

The parser allocates every cell from the first to the last that a file names: one damaged cell reference
ends the whole process, which nothing can catch. So an .xlsx is looked through first; an .xls, which is not
text, and an .xlsx whose cells could repeat a text until the memory is full, are read by a process of their
own.
"""

import json
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

from python_calamine import CalamineWorkbook

from mer.errors import MerError

Cell = str | None

MOST_BYTES = 64 << 20  # of a workbook when it is unpacked; annotation sheets have less than one MB
MOST_CELLS = 1 << 22  # from the first cell to the last; annotation sheets have some thousand
MOST_TEXT = 1 << 29  # bytes of an .xlsx times its cells, each of which may be all of its text
MEMORY = 2 << 30  # bytes, and
SECONDS = 60  # for the process that reads another workbook
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]*)([0-9]+)["']""")  # r="12" of a row, r="B12" of a cell
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")


def workbook_cells(path: Path, sheet: str | None) -> list[list[Cell]]:
    """All cells of one sheet as text, rows and columns as they lie; whole numbers without a point.

    Args:
        path: .xlsx or .xls.
        sheet: its name's beginning, without blanks, underscores and case; None is the first.

    Raises:
        MerError: no workbook, one without the sheet, or one that is too large to be an annotation.
    """
    if path.suffix.lower() == ".xls":
        return _by_own_process(path, sheet)
    size, cells = _check_size(path)
    return _cells(path, sheet) if size * cells <= MOST_TEXT else _by_own_process(path, sheet)


def plain(name: str) -> str:
    """A name without blanks, underscores and case."""
    return "".join(name.split()).replace("_", "").casefold()


def _cells(path: Path, sheet: str | None) -> list[list[Cell]]:
    try:
        book = CalamineWorkbook.from_path(path)
        names = [name for name in book.sheet_names if sheet is None or plain(name).startswith(plain(sheet))]
        rows = book.get_sheet_by_name(names[0]).to_python(skip_empty_area=False) if names else None
    except BaseException as error:
        # What its parser did not foresee is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise _unreadable(path, str(error)) from error
        raise
    if rows is None:
        wanted = "no sheet" if sheet is None else f"no sheet {sheet}"
        raise MerError(f"{path}: {wanted}; there are {', '.join(book.sheet_names) or 'none'}")
    return [[_text(cell) for cell in row] for row in rows]


def _check_size(path: Path) -> tuple[int, int]:
    """The bytes of an .xlsx that is unpacked, and how many cells it has.

    Raises:
        MerError: it unpacks to much more than an annotation, or has a cell far away.
    """
    size = height = width = cells = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    content = file.read(MOST_BYTES - size + 1)  # what it states of its size may be wrong
                size += len(content)
                if size > MOST_BYTES:
                    raise MerError(
                        f"{path}: unpacks to more than {MOST_BYTES >> 20} MB, which no annotation has; "
                        "copy it again, or save it as .csv"
                    )
                places = set(_PLACE.findall(content))
                rows = _ROW.split(content)
                # What does not say where it is follows the one before.
                high = max((int(number[:9]) for _, number in places), default=0) + len(rows) - 1
                wide = max((_column(letters) for letters, _ in places), default=0)
                filled = [len(_CELL.findall(row)) for row in rows]
                wide += max(filled)
                cells += sum(filled)
                height, width = max(height, high), max(width, wide)
    except MerError:
        raise
    except Exception as error:  # a damaged archive makes zipfile raise nearly anything
        raise _unreadable(path, str(error)) from error
    if height * width > MOST_CELLS:
        raise MerError(
            f"{path}: its cells reach over {height} rows and {width} columns, which no annotation does; "
            "delete what lies beside the table, or save it as .csv"
        )
    return size, cells


def _column(letters: bytes) -> int:
    """27 of AA."""
    number = 0
    for letter in letters.upper()[:8]:
        number = 26 * number + letter - ord("A") + 1
    return number


def _by_own_process(path: Path, sheet: str | None) -> list[list[Cell]]:
    # -P: a file named json.py in the current folder is not run.
    arguments = [str(path.absolute()), *([] if sheet is None else [sheet])]
    command = [sys.executable, "-P", "-m", __name__, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        result: dict[str, str | list[list[Cell]]] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _unreadable(path, f"not read within {SECONDS} s") from None
    except ValueError:
        raise _unreadable(path, "its reader crashed") from None
    cells = result.get("cells")
    if not isinstance(cells, list):
        raise MerError(str(result["error"]))
    return cells


def _print_cells(path: Path, sheet: str | None) -> None:
    """What the other process does: the cells, or the error, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        result: dict[str, object] = {"cells": _cells(path, sheet)}
    except MerError as error:
        result = {"error": str(error)}
    print(json.dumps(result))


def _unreadable(path: Path, reason: str) -> MerError:
    return MerError(f"{path}: not a spreadsheet that can be read ({reason}); copy it again")


def _text(cell: object) -> Cell:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() or None


if __name__ == "__main__":
    _print_cells(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
