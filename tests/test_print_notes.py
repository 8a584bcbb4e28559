"""Footnotes that the print check words: which findings they take, and that none is left without one."""

from pathlib import Path
from typing import Any

import pytest

from mer import table
from mer.errors import MerError
from mer.print_notes import FOUND, TELLING, Finding, footnote_text, read_footnotes, read_found, write_found

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FINDINGS = [
    Finding("Table 1", "Net", "all", "only if", "the column UAR holds macro precision"),
    Finding("Table 1", "Net", "smic", "consistent", "3 solutions"),
    Finding("Table 1", "Other", "all", "consistent", "1 solution"),
    Finding("Table 1", "SMIC", "", "inconsistent", "1 + 2 = 3, printed 4"),
    Finding("Figure 2", "", "a) SMIC", "inconsistent", "row Neg"),
]


def words(folder: Path, footnote: Any, label: str) -> str:
    path = folder / "table.yaml"
    return footnote_text(path, "note", read_footnotes(path, {"note": footnote})["note"], label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_found(tmp_path, "Paper", FINDINGS)
    assert read_found(tmp_path) == FINDINGS
    return tmp_path


@pytest.mark.parametrize(
    ("footnote", "label", "text"),
    [
        (
            {"check": "Table 1"},
            "Net",
            "Print check of Table 1: all: consistent only if something is read otherwise: "
            "the column UAR holds macro precision.",
        ),
        ({"check": "Table 1"}, "Other", "Print check of Table 1: all: consistent: 1 solution."),
        (
            {"check": "Table 1", "of": ["SMIC", "Net, smic"]},
            "Net",
            "Print check of Table 1: SMIC: inconsistent: 1 + 2 = 3, printed 4.",
        ),
        (
            {"check": "Table 1", "of": ["Net, smic"]},
            "Any",
            "Print check of Table 1: Net, smic: consistent: 3 solutions.",
        ),
        ({"check": "Figure 2"}, "a) SMIC", "Print check of Figure 2: inconsistent: row Neg."),
        ("two\n  lines", "Net", "two lines"),
    ],
)
def test_a_footnote_is_what_the_check_found(folder: Path, footnote: Any, label: str, text: str) -> None:
    assert words(folder, footnote, label) == text


@pytest.mark.parametrize(
    ("footnote", "message"),
    [
        ({"check": "Table 2"}, "has nothing about Table 2, Net; there: nothing"),
        (
            {"check": "Table 1", "of": ["CK+"]},
            "about Table 1, CK+; there: Net, all; Net, smic; Other, all; SMIC",
        ),
        ({"of": ["Net"]}, "{check: <text>, of: [<texts>]} is needed"),
        ({"check": "Table 1", "of": "Net"}, "{check: <text>, of: [<texts>]} is needed"),
        ({"check": "Table 1", "row": "Net"}, "{check: <text>, of: [<texts>]} is needed"),
        (3, "a text is needed, or {check: "),
        (" ", "a text is needed, or {check: "),
    ],
)
def test_bad_footnotes(folder: Path, footnote: Any, message: str) -> None:
    with pytest.raises(MerError) as caught:
        words(folder, footnote, "Net")
    assert str(caught.value).startswith(f"{folder / 'table.yaml'}: footnotes.note: ")
    assert message in str(caught.value)


FINDING = '{"findings": [{"where": %s, "row": "Net", "subset": "", "verdict": "%s", "text": "t"}]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        ("{}", "damaged"),
        ("[", "damaged"),
        ("[" * 10**5, "damaged"),
        (FINDING % ("[1]", "consistent"), "damaged"),
        (FINDING % ('"Table 1"', "sure"), "damaged"),
    ],
)
def test_without_the_checks_file(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / FOUND).write_text(content)
    with pytest.raises(MerError, match=rf"{FOUND}: {message}.*`mer check-print --write {tmp_path}` makes it"):
        words(tmp_path, {"check": "Table 1"}, "Net")


@pytest.mark.parametrize("paper", ["affectivenet", "laenet", "learnet", "originet"])
def test_what_tells_against_the_print_stands_under_a_table(
    paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in sorted((EXPERIMENTS / paper).glob("*.yaml")):
        if "{check: " in path.read_text():
            table.main([str(path), "--partial", f"runs_dir={tmp_path}"])
    shown = capsys.readouterr().out
    against = [finding for finding in read_found(EXPERIMENTS / paper) if finding.verdict in TELLING]
    assert against
    assert [each for each in against if each.text not in shown] == []
