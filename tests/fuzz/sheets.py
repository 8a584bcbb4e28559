"""Annotation sheets, damaged: of cells, of rows and columns, of bytes."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

Grid = list[list[object]]

# What people, spreadsheet programs and attackers put into a cell.
STRANGE: list[object] = [
    *(None, "", " ", "x", "/", "\\", "?", "-", "None", "nan", "inf", "-1", "0", 0, -3, 1.5, 1e300, -1e300),
    *(10**9, 10**15, 10**18, "9" * 5000, "1e400", True, False, "0x10", "1_0", "1,5", "12 ", "٣", "²"),
    *("../s2", "../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "~", "~root", "C:\\x", "%s", "{0}"),
    *("$(touch x)", "`touch x`", "; rm -rf .", "'", '"', "a\nb", "a\tb", "\x7f", "\u202egnp", "zoë", "日本"),
    *("=1+1", '=HYPERLINK("http://x")', "#REF!", "2014-05-08", "NULL", "s1", "sub01", "happiness", "x" * 300),
]
CELLS = st.one_of(
    st.sampled_from(STRANGE),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12),
)


@dataclass(frozen=True)
class Damage:
    """A change of a grid of cells; ``cells`` are those (row, column) that it changes, where it is so few."""

    name: str
    apply: Callable[[Grid], Grid]


@st.composite
def damages(draw: st.DrawFn, height: int, width: int) -> Damage:
    """One of the ways in which people spoil a sheet."""
    row, other = draw(st.integers(0, height - 1)), draw(st.integers(0, height - 1))
    column, second = draw(st.integers(0, width - 1)), draw(st.integers(0, width - 1))
    cell = draw(CELLS)

    def set_cell(grid: Grid) -> Grid:
        return [
            [cell if (r, c) == (row, column) else value for c, value in enumerate(line)]
            for r, line in enumerate(grid)
        ]

    def swap_columns(grid: Grid) -> Grid:
        for line in grid:
            line[column], line[second] = line[second], line[column]
        return grid

    def swap_rows(grid: Grid) -> Grid:
        grid[row], grid[other] = grid[other], grid[row]
        return grid

    changes: dict[str, Callable[[Grid], Grid]] = {
        "cell": set_cell,
        "column of it": lambda grid: [[*line[:column], cell, *line[column + 1 :]] for line in grid],
        "dropped column": lambda grid: [[*line[:column], *line[column + 1 :]] for line in grid],
        "doubled column": lambda grid: [[*line[: column + 1], *line[column:]] for line in grid],
        "swapped columns": swap_columns,
        "dropped row": lambda grid: grid[:row] + grid[row + 1 :],
        "doubled row": lambda grid: grid[: row + 1] + grid[row:],
        "swapped rows": swap_rows,
        "blank row": lambda grid: [*grid[:row], [None] * width, *grid[row:]],
        "short rows": lambda grid: [line[:column] for line in grid],
        "row of it": lambda grid: [*grid[:row], [cell] * width, *grid[row:]],
        "nothing left": lambda _: [],
    }
    name = draw(st.sampled_from(sorted(changes)))
    return Damage(name, lambda grid: changes[name]([list(line) for line in grid]))


def read_grid(path: Path) -> Grid:
    """The cells of the first sheet, or of a CSV file."""
    if path.suffix == ".csv":
        with path.open(encoding="latin-1", newline="") as file:
            return [list(row) for row in csv.reader(file)]
    page = load_workbook(path).worksheets[0]
    return [[cell.value for cell in row] for row in page.iter_rows()]


def write_grid(path: Path, grid: Grid) -> bool:
    """Write the cells over the first sheet of the file that is there; False where it takes no such cell."""
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows(grid)
        path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        return True
    book = load_workbook(path) if path.is_file() else Workbook()
    page = book.worksheets[0]
    page.delete_rows(1, page.max_row)
    for r, line in enumerate(grid, start=1):
        for c, value in enumerate(line, start=1):
            if value is not None:
                try:
                    page.cell(r, c).value = value
                except ValueError:  # a control character
                    return False
    book.save(path)
    return True


def spoil(data: st.DataObject, content: bytes) -> bytes:
    """A file with bytes changed, cut off, or put in."""
    spoilt = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6), "changes")):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from(["as it is", "cut", "twice", "inserted", "nothing"]))
    at = data.draw(st.integers(0, len(spoilt)))
    other = data.draw(st.binary(max_size=40))
    result = {
        "as it is": spoilt,
        "cut": spoilt[:at],
        "twice": spoilt * 2,
        "inserted": spoilt[:at] + other + spoilt[at:],
        "nothing": other,
    }
    return bytes(result[kind])
