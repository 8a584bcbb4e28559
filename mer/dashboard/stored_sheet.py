"""A table that `mer table` wrote as Markdown, read back. No torch: kinds that count networks need it."""

import re
from pathlib import Path

from mer.errors import MerError
from mer.table_formats import Grid, Sheet

_CELLS = re.compile(r"(?<!\\)\|")
_NOTE = re.compile(r"- \(([a-z]+)\) (.*)")


def read_sheet(path: Path) -> Sheet:
    """The sheet of a file that `mer.table_formats.to_markdown` wrote.

    Raises:
        MerError: it cannot be read, or is no such file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MerError(f"{path}: cannot be read ({error})") from error
    grids: list[Grid] = []
    notes: list[tuple[str, str]] = []
    how: list[str] = []
    words: list[str] = []
    command, in_how = "", False
    for number, line in enumerate(lines):
        if line.startswith("|"):
            _add_line(grids, line, begins=number == 0 or not lines[number - 1].startswith("|"))
        elif line == "## How":
            in_how = True
        elif line.startswith("    "):
            command = line.strip()
        elif in_how and line.startswith("- "):
            how.append(line[2:])
        elif found := _NOTE.fullmatch(line):
            notes.append((found[1], found[2]))
        elif line and line != "Made by:":
            words.append(line)
    if not words or not words[0].startswith("# ") or not grids:
        raise MerError(f"{path}: not a table that `mer table` wrote; run it again")
    more = [*grids[1:], Grid([]), Grid([])]
    return Sheet(
        title=words[0][2:],
        caption=" ".join(words[1:]),
        grid=grids[0],
        footnotes=notes,
        how=how,
        data=more[0],
        runs=more[1],
        command=command,
    )


def _add_line(grids: list[Grid], line: str, *, begins: bool) -> None:
    cells = [cell.strip().replace("\\|", "|") for cell in _CELLS.split(line)[1:-1]]
    if begins:
        grids.append(Grid(cells))
    elif all(re.fullmatch(r"-+:?", cell) for cell in cells) and not grids[-1].lines:
        left = sum(not cell.endswith(":") for cell in cells)
        grids[-1] = Grid(grids[-1].header, left=left)
    else:
        grids[-1].lines.append(cells)
