"""Counts: ours are the published ones where no database is here, and the papers' misprints stay."""

from pathlib import Path

import pandas as pd
import pytest

from mer.data import casme, casme2, samm
from mer.data import smic as smic_data
from mer.data.standins import write_standin
from mer.errors import MerError
from tests.table_kinds.sheets import cells, example, sheet_of, write_table

READERS = {"casme2": casme2.read_clips, "samm": samm.read_clips}
# OrigiNet's table II.
TABLE = """
    kind: counts
    title: OrigiNet's clips
    columns:
      anger: Anger
      contempt: Contempt
      disgust: Disgust
      fear: Fear
      happiness: Happy
      others: {header: Others, of: [others, other]}
      sadness: Sad
      surprise: Surprise
      repression: Repression
      tense: Tension
      total: Total
      subjects: Subjects
    rows:
      - label: CASME
        data: casme
        labels: original
        paper: {anger: "-", contempt: 1, disgust: 43, fear: 2, happiness: 12, others: "-", sadness: 5,
          surprise: 21, repression: 38, tense: 67, total: 189}
      - label: CASME II
        data: casme2
        labels: original
        paper: {disgust: 58, fear: 2, happiness: 32, others: 99, sadness: 7, surprise: 25, repression: 27,
          total: 250}
        notes: [fewer]
      - label: SAMM
        data: samm
        labels: original
        paper: {anger: 57, contempt: 12, disgust: 9, fear: 8, happiness: {table: 27, file: 26}, others: 25,
          sadness: 6, surprise: 15, total: 159}
    footnotes:
      fewer: The file of 2014 has 63 clips of disgust.
"""


def test_without_a_database_ours_are_the_published_counts(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE))
    assert {line[-1] for line in sheet.data.lines} == {"the published counts"}
    for label, database, reader in (
        ("CASME", "casme", casme),
        ("CASME II (a)", "casme2", casme2),
        ("SAMM", "samm", samm),
    ):
        ours = cells(sheet, label)
        published = reader.PUBLISHED_COUNTS[database]
        assert ours["Total"] == str(sum(published.values()) - published["subjects"])
        assert ours["Subjects"] == str(published["subjects"])
        assert ours["Disgust"] == str(published["disgust"])
        assert ours["Others"] == str(published.get("others", published.get("other", "")))
    assert not sheet.title.startswith("SYNTHETIC")


def test_differences_show_what_a_paper_has_otherwise(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE))
    assert set(cells(sheet, "CASME", "difference").values()) == {"CASME", "difference", "0", ""}
    casme2_differs = cells(sheet, "CASME II (a)", "difference")
    assert {key for key, value in casme2_differs.items() if value.startswith("+")} == {"Disgust", "Total"}
    assert casme2_differs["Disgust"] == casme2_differs["Total"] == "+5"
    assert cells(sheet, "SAMM", "paper")["Happy"] == "27 (file: 26)"
    assert (cells(sheet, "SAMM")["Happy"], cells(sheet, "SAMM", "difference")["Happy"]) == ("26", "-1")


def test_printed_classes_that_do_not_add_up_get_a_footnote(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("counts")))
    assert cells(sheet, "CASME (a) (b)", "paper")["Total"] == "187"
    assert ("b", f"The printed classes add up to {9 + 50 + 21 + 106}, not to 187.") in sheet.footnotes
    assert not any("add up" in text for _, text in sheet_of(write_table(tmp_path, TABLE)).footnotes)


def test_the_docstrings_example(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("counts")))
    assert sheet.caption == "AffectiveNet, section 4.1: Datasets"
    assert cells(sheet, "CASME (a) (b)")["Positive"] == "12"
    assert cells(sheet, "SAMM of MEGC 2019")["Negative"] == "92"
    assert cells(sheet, "SMIC as annotated")["Negative"] == "70"


def test_labels_can_be_counted_below_their_class(tmp_path: Path) -> None:
    text = """
        kind: counts
        title: CASME II of MEGC 2019
        columns: {disgust: Disgust, repression: Repression, happiness: Happy, surprise: Surprise,
          total: Total, subjects: Subjects}
        rows:
          - {label: CASME II, data: casme2, labels: 3class, by: label}
    """
    ours = cells(sheet_of(write_table(tmp_path, text)), "CASME II")
    published = casme2.PUBLISHED_COUNTS["casme2"]
    kept = [published[name] for name in ("disgust", "repression", "happiness", "surprise")]
    assert [ours[name] for name in ("Disgust", "Repression", "Happy", "Surprise")] == list(map(str, kept))
    assert ours["Total"] == str(sum(kept))
    assert ours["Subjects"] == "not known"  # some may have had the other labels only


def test_counts_of_another_choice_than_the_published_are_not_guessed(tmp_path: Path) -> None:
    text = """
        kind: counts
        title: CAS(ME)^2
        columns: {anger: Anger, happy: Happy, disgust: Disgust, total: Total}
        rows:
          - {label: self-report, data: casme_sq, labels: 3class, paper: {anger: 102, happy: 151, disgust: 88}}
          - {label: video, data: casme_sq, labels: 3class_video, paper: {total: 357}}
    """
    sheet = sheet_of(write_table(tmp_path, text))
    assert cells(sheet, "self-report", "difference") == {
        **{"database": "self-report", "line": "difference"},
        **{"Anger": "0", "Happy": "+4", "Disgust": "0", "Total": ""},
    }
    assert cells(sheet, "video")["Total"] == "not known"
    assert sheet.data.lines[1][-1].startswith("nothing: it needs CAS(ME)^2")


def test_a_database_that_is_here_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_standin("samm", tmp_path / "samm")
    text = """
        kind: counts
        title: SAMM
        columns: {positive: P, negative: N, surprise: S, others: O, total: Total, subjects: Subjects}
        rows:
          - {label: SAMM, data: samm, labels: 4class, paper: {positive: 26}}
    """
    path = write_table(tmp_path, text)
    assert cells(sheet_of(path), "SAMM")["P"] == "26"
    sheet = sheet_of(path, [f"roots.samm={root}"])
    clips = samm.read_clips(root).clips
    ours = cells(sheet, "SAMM")
    assert int(ours["P"]) == (clips["label"] == "happiness").sum()
    assert int(ours["Total"]) == len(clips)
    assert int(ours["Subjects"]) == clips["subject"].nunique()
    assert sheet.title == "SYNTHETIC DATA: SAMM"
    assert sheet.data.lines == [["SAMM", "samm", "4class", "the clip table of a stand-in"]]
    assert str(root) not in sheet.command
    assert sheet_of(path, [f"data.root={root}"]) == sheet
    monkeypatch.setenv("MER_ROOT_SAMM", str(root))
    assert sheet_of(path).grid == sheet.grid


def test_labels_of_a_database_that_is_here(tmp_path: Path) -> None:
    root = write_standin("samm", tmp_path / "samm")
    text = """
        kind: counts
        title: SAMM
        columns: {anger: A, contempt: C, disgust: D, fear: F, happiness: H, sadness: Sad, surprise: S,
          total: Total}
        rows:
          - {label: SAMM, data: samm, labels: 3class, by: label}
    """
    ours = cells(sheet_of(write_table(tmp_path, text), [f"roots.samm={root}"]), "SAMM")
    labels: pd.Series = samm.read_clips(root).clips["label"]
    assert int(ours["A"]) == (labels == "anger").sum()
    assert int(ours["Total"]) == (labels != "other").sum()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "tense: Tension",
            "tension: Tension",
            r"rows\[1\] \(CASME\): it counts 'tense', which has no column",
        ),
        ("data: casme2", "data: casme3", "data=casme3: no such config"),
        (
            "data: samm\n        labels: original",
            "data: samm\n        labels: two",
            "labels=two: samm has original",
        ),
        ("data: samm", "data: samm\n        database: smic", r"\(SAMM\)\.database=smic: samm holds no clip"),
        ("data: samm", "data: samm\n        by: emotion", r"\(SAMM\)\.by=emotion: choose class, label"),
        ("happiness: Happy", "happiness: {of: [happy]}", r"columns\.happiness\.header: missing"),
        ("tense: 67", "tension: 67", r"\.paper\.tension: no such column"),
        ("notes: [fewer]", "notes: [less]", "'less' is no key of footnotes"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = TABLE.replace(old, new)
    if old == "tense: Tension":
        text = text.replace("tense: 67, ", "")
    assert text != TABLE
    with pytest.raises(MerError, match=message):
        sheet_of(write_table(tmp_path, text))


def test_a_folder_that_is_not_there_is_no_reason_to_take_published_counts(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no such folder"):
        sheet_of(write_table(tmp_path, TABLE), [f"roots.samm={tmp_path / 'none'}"])


def test_one_folder_is_not_that_of_three_databases(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"names one folder, and .* shows casme, casme2, samm: give roots\."):
        sheet_of(write_table(tmp_path, TABLE), [f"data.root={tmp_path}"])
    with pytest.raises(MerError, match=r"roots\.smic=: .* shows casme, casme2, samm"):
        sheet_of(write_table(tmp_path, TABLE), [f"roots.smic={tmp_path}"])


@pytest.mark.parametrize(
    ("data", "databases"),
    [("megc2019", ["casme2", "samm", "smic"]), ("composite", ["casme2", "samm"])],
)
def test_several_databases_that_are_here(tmp_path: Path, data: str, databases: list[str]) -> None:
    roots = {name: write_standin(name, tmp_path / name) for name in databases}
    text = f"""
        kind: counts
        title: Several
        columns: {{positive: P, negative: N, surprise: S, others: O, total: Total}}
        rows:
          - {{label: All, data: {data}}}
          - {{label: SAMM, data: {data}, database: samm}}
    """
    given = [f"roots.{name}={root}" for name, root in roots.items()]
    sheet = sheet_of(write_table(tmp_path, text), given)
    happy = {name: (read(roots[name]).clips["label"] == "happiness").sum() for name, read in READERS.items()}
    assert int(cells(sheet, "SAMM")["P"]) == happy["samm"]
    smic = (smic_data.read_clips(roots["smic"]).clips["label"] == "positive").sum() if "smic" in roots else 0
    assert int(cells(sheet, "All")["P"]) == sum(happy.values()) + smic
    # One folder less, and nothing can be counted.
    less = sheet_of(write_table(tmp_path, text), given[1:])
    assert "clip table" not in less.data.lines[0][-1]
