"""What the kinds share of a table's YAML: checked keys, printed cells, footnotes, lines. No torch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import MerError
from mer.print_notes import footnote_text, read_footnotes
from mer.runs import NEUTRAL_KEYS
from mer.statistics import METRICS
from mer.table_file import checked as checked
from mer.table_file import line as line
from mer.table_file import variant_parts as variant_parts
from mer.table_formats import Grid, Marks
from mer.table_results import Record

TOP: Mapping[str, Any] = {"kind": str, "title": str}
TOP_OPTIONAL: Mapping[str, Any] = {"paper": dict, "footnotes": dict}
CELL = (str, int, float, dict)  # as printed, or where it was printed -> what
_SUM = re.compile(r"(?:(?P<times>\d+)\s*x?\s*\()?(?P<sum>\d+(?:\s*\+\s*\d+)*)\)?")


def choice(path: Path, where: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, where it is one of these.

    Raises:
        MerError: it is none of them.
    """
    names = list(allowed)
    if value not in names:
        raise MerError(f"{path}: {where}={value}: choose {', '.join(names)}")
    return value


def read_overrides(overrides: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """``key=value`` of a command line. Keys that change no result are passed over.

    Args:
        overrides: as given.
        known: what the kind takes; ``roots.`` stands for every key that begins so.

    Raises:
        MerError: another key, or no ``=``.
    """
    found = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise MerError(f"{override}: expected key=value")
        if key in known or any(key.startswith(name) for name in known if name.endswith(".")):
            found[key] = value.strip("'\"")
        elif key not in NEUTRAL_KEYS and not key.startswith("logger."):
            names = ", ".join(f"{name}<name>" if name.endswith(".") else name for name in known)
            raise MerError(f"{override}: a table of this kind takes {names or 'no overrides'}")
    return found


def command(path: Path, shown: Iterable[str] = ()) -> str:
    """The command that makes the table, with these words after the file."""
    return " ".join(["mer table", f"experiments/{path.absolute().parent.name}/{path.name}", *shown])


def caption(path: Path, request: Mapping[str, Any]) -> str:
    """Which printed table, figure or section this is; empty for a table of our own.

    Raises:
        MerError: ``paper`` has not exactly the keys name, caption, and one of table, figure and section.
    """
    if "paper" not in request:
        return ""
    numbers = dict.fromkeys(("table", "figure", "section"), (str, int))
    paper = checked(path, "paper", request["paper"], {"name": str, "caption": str}, numbers)
    kinds = [kind for kind in numbers if kind in paper]
    if len(kinds) != 1:
        raise MerError(f"{path}: paper: exactly one of {', '.join(numbers)} is needed")
    return f"{paper['name']}, {kinds[0]} {paper[kinds[0]]}: {line(paper['caption'])}"


@dataclass(frozen=True)
class Printed:
    """A cell of the paper: as shown, and its value where it is a number."""

    text: str
    value: float | None


def read_printed(
    path: Path, where: str, value: Mapping[str, Any] | None, columns: Iterable[str]
) -> dict[str, Printed]:
    """The printed cells of a row.

    A cell is what the paper prints, ``2.2``; or, where it contradicts itself, each number under the place
    that prints it, ``{table: 2.2, text: 2.3}``. All are shown; the first is the one that is compared.

    Raises:
        MerError: a column that is not there, or a cell that is no text, number or such mapping.
    """
    columns = list(columns)
    cells = {}
    for key, cell in (value or {}).items():
        if key not in columns:
            raise MerError(f"{path}: {where}.{key}: no such column; there are {', '.join(columns)}")
        checked(path, where, {key: cell}, {key: CELL}, {})
        if isinstance(cell, Mapping):
            if not cell or not all(isinstance(each, (str, int, float)) for each in cell.values()):
                raise MerError(f"{path}: {where}.{key}: numbers by place are needed, as in {{table: 2.2}}")
            first, *others = cell.items()
            text = str(first[1]) + "".join(f" ({place}: {other})" for place, other in others)
            cells[key] = Printed(text, printed_value(str(first[1])))
        else:
            cells[key] = Printed(line(str(cell)), printed_value(str(cell)))
    return cells


def printed_value(text: str) -> float | None:
    """The number that a cell prints; sums and products as layer tables write them; None for anything else.

    >>> printed_value("2.2"), printed_value("4 (256+16)"), printed_value("1,670"), printed_value("-")
    (2.2, 1088.0, 1670.0, None)
    """
    text = text.strip().replace(",", "")
    if (found := _SUM.fullmatch(text)) and text.count("(") == text.count(")"):
        return float(int(found["times"] or 1) * sum(int(part) for part in found["sum"].split("+")))
    return float(text) if re.fullmatch(r"\d*\.\d+", text) else None


def difference(ours: float | None, printed: Printed | None, decimals: int = 0) -> str:
    """Ours - the paper's, empty where one of them is no number; 0 has no sign."""
    if ours is None or printed is None or printed.value is None:
        return ""
    value = round(ours - printed.value, decimals)
    return f"{value:+.{decimals}f}" if value else "0"


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores: its heading, and which score of which clips (``all``, or a database) it shows."""

    header: str
    metric: str
    subset: str


def read_score_column(path: Path, key: str, value: Any) -> ScoreColumn:
    """``columns.<key>`` of a table of scores.

    Raises:
        MerError: another key, or an unknown metric.
    """
    fields = checked(path, f"columns.{key}", value, {"subset": str, "metric": str, "header": str}, {})
    choice(path, f"columns.{key}.metric", fields["metric"], METRICS)
    return ScoreColumn(fields["header"], fields["metric"], fields["subset"])


def mean_and_spread(values: Sequence[float], decimals: int = 4, sign: str = "") -> str:
    """``mean ± standard deviation`` (n - 1), of one value itself; ``sign="+"`` shows it always."""
    mean = f"{np.mean(values):{sign}.{decimals}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else mean


class Notes:
    """Footnotes of a table: letters in the order of their first use; equal texts share one.

    Raises:
        MerError: a footnote that `mer.print_notes` cannot read.
    """

    def __init__(self, path: Path, footnotes: Mapping[str, Any]) -> None:
        self._path = path
        self._footnotes = read_footnotes(path, footnotes)
        self._marks = Marks()
        self._named: set[str] = set()

    def label(self, where: str, text: str, keys: Sequence[str] = (), more: Sequence[str] = ()) -> str:
        """A label with the marks of its footnotes.

        Args:
            where: of the row, for the message.
            text: the label.
            keys: of ``footnotes``.
            more: footnotes of our own.

        Raises:
            MerError: a key that is not there.
        """
        for key in keys:
            if not isinstance(key, str) or key not in self._footnotes:
                raise MerError(f"{self._path}: {where}.notes: {key!r} is no key of footnotes")
            self._named.add(key)
        texts = [footnote_text(self._path, key, self._footnotes[key], line(text)) for key in keys]
        return " ".join([line(text), *(f"({self._marks.of(each)})" for each in [*texts, *more])])

    def listed(self) -> list[tuple[str, str]]:
        """(letter, text) of those used.

        Raises:
            MerError: a footnote of the file that no row has.
        """
        if idle := self._footnotes.keys() - self._named:
            raise MerError(f"{self._path}: footnotes.{min(idle)}: no row has it in its notes")
        return self._marks.listed()


def place(number: int, row: Any) -> str:
    """A row in a message: ``rows[2] (LAENet)``."""
    name = f" ({row['label']})" if isinstance(row, Mapping) and "label" in row else ""
    return f"rows[{number}]{name}"


def block(
    label: str,
    columns: Iterable[str],
    *,
    paper: Mapping[str, Printed],
    ours: Mapping[str, str] | None,
    differences: Mapping[str, str],
    quote: bool = False,
) -> list[list[str]]:
    """The lines of a row: the paper's, ours, the difference, each where there is one."""
    columns = list(columns)
    lines = []
    if paper or ours is None:
        texts = {key: cell.text for key, cell in paper.items()}
        lines.append(["paper, quoted" if quote else "paper", *(texts.get(key, "") for key in columns)])
    if ours is not None:
        lines.append(["ours", *(ours.get(key, "") for key in columns)])
    if any(differences.values()):
        lines.append(["difference", *(differences.get(key, "") for key in columns)])
    return [[label if not number else "", *cells] for number, cells in enumerate(lines)]


def runs_grid(records: Iterable[Record]) -> Grid:
    """What made ours; a run that stands several times is shown once."""
    lines = [
        [
            *(record.name, record.data, record.protocol, str(record.seed), str(record.epochs)),
            *(record.date, ", ".join(commit[:8] for commit in record.commit.split(", "))),
        ]
        for record in {record.key: record for record in records}.values()
    ]
    return Grid(["variant", "data", "protocol", "seed", "epochs", "date", "commit"], lines, left=3)


def flat(grid: Grid, names: int = 1) -> Grid:
    """The grid with its first ``names`` columns filled in on every line, as CSV needs it."""
    lines: list[list[str]] = []
    for cells in grid.lines:
        filled = list(cells)
        # What is empty goes on from above, up to the first column that begins anew.
        for column in range(names):
            if filled[column] or not lines:
                break
            filled[column] = lines[-1][column]
        lines.append(filled)
    return Grid(grid.header, lines, left=grid.left)
