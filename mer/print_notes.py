"""The print check's findings as footnotes of tables. No torch.

`mer check-print --write` leaves what it found beside a paper's tables; a footnote of a table's file names it
in place of a text::

    footnotes:
      check: {check: Table 4}
      sizes: {check: Table 1, of: [CASME, CASME II]}

``check`` is the place that the findings are about; ``of`` lists what they are about there, a row (all its
subsets) or a row with one subset, as print_check.md shows them (default: the label of the row that has the
note). Where none of them tells against the print, all are shown.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer.atomic import write_text
from mer.errors import MerError

FOUND = "print_check.json"
VERDICTS = {
    "consistent": "consistent",
    "only if": "consistent only if something is read otherwise",
    "inconsistent": "inconsistent",
    "undecided": "undecided",
    "not checked": "not checked",
}
TELLING = ("only if", "inconsistent")


@dataclass(frozen=True)
class Finding:
    """One line of the report: which table, which row (or set of clips), the verdict and what it rests on."""

    where: str
    row: str
    subset: str  # "" where the finding is about no subset
    verdict: str  # of VERDICTS
    text: str

    @property
    def about(self) -> str:
        """Row and subset, as the report shows them."""
        return ", ".join(filter(None, [self.row, self.subset]))


@dataclass(frozen=True)
class Check:
    """A footnote that the print check words: findings about a place, of these rows or of the row's label."""

    where: str
    of: tuple[str, ...]


Footnote = str | Check


def write_found(folder: Path, paper: str, found: Iterable[Finding]) -> Path:
    """Leave the findings of a paper where `read_found` looks for them."""
    path = folder / FOUND
    content = {"paper": paper, "findings": [vars(finding) for finding in found]}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def read_found(folder: Path) -> list[Finding]:
    """The findings about a paper's tables.

    Raises:
        MerError: `mer check-print --write` has not been run, or its file is damaged.
    """
    path = folder / FOUND
    remedy = f"`mer check-print --write {folder}` makes it"
    try:
        findings = json.loads(path.read_text(encoding="utf-8"))["findings"]
        found = [Finding(**finding) for finding in findings]
        if not all(isinstance(text, str) for each in found for text in vars(each).values()):
            raise TypeError("a finding holds no text")
        if strange := {each.verdict for each in found} - VERDICTS.keys():
            raise ValueError(f"no verdict {min(strange)!r}")
        return found
    except FileNotFoundError as error:
        raise MerError(f"{path}: missing, but a footnote names it; {remedy}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise MerError(f"{path}: damaged ({type(error).__name__}: {text}); {remedy}") from error


def read_footnotes(path: Path, footnotes: Mapping[Any, Any]) -> dict[str, Footnote]:
    """The footnotes of a table's file, by key, each in one line.

    Raises:
        MerError: one is neither a text nor ``{check: <place>, of: [...]}``.
    """
    return {str(key): _footnote(f"{path}: footnotes.{key}", value) for key, value in footnotes.items()}


def _footnote(where: str, value: Any) -> Footnote:
    if isinstance(value, str) and value.strip():
        return " ".join(value.split())
    if not isinstance(value, Mapping):
        raise MerError(f"{where}: a text is needed, or {{check: <place in print_check.md>}}")
    place, of = value.get("check"), value.get("of", [])
    listed = isinstance(of, list) and all(isinstance(each, str) for each in of)
    if not isinstance(place, str) or not listed or value.keys() - {"check", "of"}:
        raise MerError(f"{where}: {dict(value)} does not fit, {{check: <text>, of: [<texts>]}} is needed")
    return Check(place, tuple(of))


def footnote_text(path: Path, key: str, footnote: Footnote, label: str) -> str:
    """A footnote of the row with this label, in words.

    Args:
        path: of the table's file, which the findings lie beside.
        key: of the footnote, for the message.
        footnote: as `read_footnotes` gives it.
        label: of the row that has it.

    Raises:
        MerError: the print check has found nothing there.
    """
    if isinstance(footnote, str):
        return footnote
    there = [finding for finding in read_found(path.parent) if finding.where == footnote.where]
    shown = []
    for name in footnote.of or (label,):
        found = [finding for finding in there if name in (finding.row, finding.about)]
        if not found:
            known = "; ".join(dict.fromkeys(finding.about for finding in there)) or "nothing"
            raise MerError(
                f"{path}: footnotes.{key}: {FOUND} has nothing about {footnote.where}, {name}; there: {known}"
            )
        shown += found
    telling = [finding for finding in shown if finding.verdict in TELLING]
    words = ". ".join(_words(finding, label) for finding in telling or shown)
    return f"Print check of {footnote.where}: {words}."


def _words(finding: Finding, label: str) -> str:
    about = finding.subset if finding.row == label else finding.about
    return ": ".join(filter(None, [about if about != label else "", VERDICTS[finding.verdict], finding.text]))
