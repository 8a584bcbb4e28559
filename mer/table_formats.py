"""What a rendered table says, and how it is written: Markdown, LaTeX, CSV. No torch."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# A sign that a hyphen would not do for.
_SIGNED = re.compile(r"[+-][0-9.]+%?")
_CODE = re.compile(r"`([^`]*)`")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ at a line's end it would open an optional argument
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}


@dataclass(frozen=True)
class Grid:
    """A heading and lines of cells."""

    header: list[str]
    lines: list[list[str]] = field(default_factory=list)
    left: int = 1  # columns that hold words


SYNTHETIC_TITLE = "SYNTHETIC DATA: "  # begins the title of whatever rests on drawn faces


@dataclass(frozen=True)
class Sheet:
    """What a rendered table says, in no particular format."""

    title: str
    caption: str
    grid: Grid
    footnotes: list[tuple[str, str]] = field(default_factory=list)
    how: list[str] = field(default_factory=list)
    data: Grid = field(default_factory=lambda: Grid([]))
    runs: Grid = field(default_factory=lambda: Grid([]))
    command: str = ""
    flat: Grid | None = None  # for CSV, where the grid takes several lines a row

    @property
    def synthetic(self) -> bool:
        """Whether it shows drawn faces; such a sheet never lies beside a table's file."""
        return self.title.startswith(SYNTHETIC_TITLE)


class Marks:
    """Letters for footnotes, in the order of their first use; equal texts share one."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def of(self, text: str) -> str:
        """The letter of a footnote."""
        if text not in self._texts:
            self._texts.append(text)
        return _letter(self._texts.index(text))

    def listed(self) -> list[tuple[str, str]]:
        """(letter, text) of those used."""
        return [(_letter(number), text) for number, text in enumerate(self._texts)]


def _letter(number: int) -> str:
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def to_markdown(sheet: Sheet) -> str:
    """The sheet as Markdown, its columns aligned in the source too."""
    parts = [f"# {sheet.title}", *filter(None, [sheet.caption]), _markdown_grid(sheet.grid)]
    if sheet.footnotes:
        parts.append("\n".join(f"- ({mark}) {text}" for mark, text in sheet.footnotes))
    if sheet.how:
        parts += ["## How", "\n".join(f"- {line}" for line in sheet.how)]
    parts += [_markdown_grid(grid) for grid in (sheet.data, sheet.runs) if grid.lines]
    if sheet.command:
        parts += ["Made by:", f"    {sheet.command}"]
    return "\n\n".join(parts) + "\n"


def to_latex(sheet: Sheet) -> str:
    r"""The sheet as a LaTeX table; the preamble needs ``\usepackage{booktabs}``.

    What data and which runs it rests on is left to the other formats.
    """
    grid = sheet.grid
    columns = "l" * grid.left + "r" * (len(grid.header) - grid.left)
    caption = _sentence(sheet.title) + (f" {sheet.caption}" if sheet.caption else "")
    lines = [
        r"% Needs \usepackage{booktabs}",
        *([f"% Made by: {sheet.command}"] if sheet.command else []),
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(caption)}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        _latex_line(grid.header),
        r"    \midrule",
        *map(_latex_line, grid.lines),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    notes = [f"({mark}) {text}" for mark, text in sheet.footnotes] + sheet.how
    if notes:
        lines += [
            r"  \begin{flushleft}\footnotesize",
            *(rf"    {_latex(note)}\par" for note in notes),
            r"  \end{flushleft}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def to_csv(sheet: Sheet) -> str:
    """The sheet's cells as CSV, the title in the first column: it says what the numbers are worth."""
    grid = sheet.flat or sheet.grid
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", *grid.header])
    writer.writerows([sheet.title, *line] for line in grid.lines)
    return text.getvalue()


FORMATS: dict[str, Callable[[Sheet], str]] = {"md": to_markdown, "tex": to_latex, "csv": to_csv}


def _markdown_grid(grid: Grid) -> str:
    lines = [[cell.replace("|", "\\|") for cell in line] for line in [grid.header, *grid.lines]]
    widths = [max(3, *map(len, cells)) for cells in zip(*lines, strict=True)]
    rule = [
        "-" * width if number < grid.left else "-" * (width - 1) + ":" for number, width in enumerate(widths)
    ]
    padded = [
        [
            cell.ljust(width) if number < grid.left else cell.rjust(width)
            for number, (cell, width) in enumerate(pairs)
        ]
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _latex_line(cells: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(cell: str) -> str:
    return f"${_latex(cell)}$" if _SIGNED.fullmatch(cell) else _latex(cell)


def _latex(text: str) -> str:
    """Text as LaTeX prints it; what stands between backticks is code."""
    parts = _CODE.split(text)
    escaped = ["".join(_LATEX.get(character, character) for character in part) for part in parts]
    return "".join(rf"\texttt{{{part}}}" if number % 2 else part for number, part in enumerate(escaped))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
