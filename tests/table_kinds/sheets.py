"""Lays tables out from YAML text."""

import inspect
import textwrap
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from mer.table_file import read_document
from mer.table_formats import Sheet


def example(kind: str) -> str:
    """The example of a kind's docstring, as it stands there."""
    doc = inspect.getdoc(import_module(f"mer.table_kinds.{kind}"))
    assert doc is not None
    text = doc.split("Example::\n\n")[1]
    lines = text.splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end]))


def write_table(folder: Path, text: str, name: str = "table.yaml") -> Path:
    """A table's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def sheet_of(path: Path, overrides: Sequence[str] = ()) -> Sheet:
    """The sheet of a table's file, by its kind."""
    document = read_document(path)
    sheet: Sheet = import_module(f"mer.table_kinds.{document['kind']}").lay_out(document, path, overrides)
    return sheet


def cells(sheet: Sheet, label: str, line: str = "ours") -> dict[str, str]:
    """A line of the flat grid, by header."""
    assert sheet.flat is not None
    found = [row for row in sheet.flat.lines if row[0] == label and line in row]
    assert len(found) == 1, f"{len(found)} lines {line} of {label}"
    return dict(zip(sheet.flat.header, found[0], strict=True))
