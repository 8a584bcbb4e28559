import shutil
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.data.casme import FPS, PUBLISHED_COUNTS, CASMEDataModule, read_clips
from mer.data.clips import class_counts, count_mismatch
from mer.data.findings import Finding
from mer.data.frames import list_frames
from mer.data.label_sets import apply_labels, labels_of
from mer.data.sheet import Cell, read_cells
from mer.data.standins import write_standin
from mer.data.standins.tree import write_sheet
from mer.errors import MerError
from mer.packaged import config_dir


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme", tmp_path_factory.mktemp("casme"), size=16)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme", tmp_path_factory.mktemp("casme_full"), full=True, size=16)


@pytest.fixture
def root(release: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(release, tmp_path / "CASME"))


def rows_of(root: Path) -> list[list[Cell]]:
    return read_cells(root / "casme.xlsx")


def rewrite(path: Path, cells: list[list[Cell]]) -> None:
    path.unlink(missing_ok=True)
    write_sheet(path, cells[1:], header=[name or "" for name in cells[0]], sheet="Sheet1")


def unknown(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if not finding.known]


def same_clips(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        one.drop(columns=["frames", "cropped"]), other.drop(columns=["frames", "cropped"])
    )


def test_the_release_is_read(release: Path) -> None:
    clips, findings, *_ = read_clips(release)
    assert unknown(findings) == []
    assert set(clips["subject"]) == {"sub01", "sub02", "sub08", "sub19"}, "the sheet has 1, 2, 8 and 19"
    assert set(clips["label"]) == set(PUBLISHED_COUNTS["casme"]) - {"subjects"}
    assert set(clips["fps"]) == {FPS} == {60}
    header, row = rows_of(release)[:2]
    first = dict(zip(header, row, strict=True))
    clip = clips[clips["clip"] == first["Filename"]].iloc[0]
    assert [str(clip[name]) for name in ("label", "onset", "apex", "offset")] == [
        first[name] for name in ("Emotion", "OnsetF", "ApexF1", "OffsetF")
    ], "the second apex is not read"
    assert first["ApexF2"] not in (None, first["ApexF1"])
    assert clip["frames"] == str(release / "Cropped/sub01" / str(first["Filename"]))
    assert CASMEDataModule.read_clips is read_clips


def test_both_layouts_hold_the_same_clips(release: Path) -> None:
    cropped, original = (read_clips(release, frames=name) for name in ("cropped", "original"))
    same_clips(cropped.clips, original.clips)
    assert (set(cropped.clips["cropped"]), set(original.clips["cropped"])) == ({True}, {False})
    assert cropped.findings == original.findings
    sections = {
        subject: {Path(path).parents[1].name for path in same["frames"]}
        for subject, same in original.clips.groupby("subject")
    }
    assert sections == {
        "sub01": {"Section A"},
        "sub02": {"Section A"},
        "sub08": {"Section B"},
        "sub19": {"Section B"},
    }


@pytest.mark.parametrize(("frames", "prefix"), [("original", ""), ("cropped", "reg_")])
def test_frames_are_in_the_order_of_their_numbers(release: Path, frames: str, prefix: str) -> None:
    """The numbers are unpadded in section A, where 99 comes before 100, and have three digits in B."""
    for subject, pattern in (("sub01", "{}"), ("sub08", "{:03d}")):
        clips = read_clips(release, frames=frames).clips
        for clip in clips[clips["subject"] == subject].itertuples():
            found = list_frames(Path(str(clip.frames)))
            assert list(found) == list(range(min(found), max(found) + 1))
            assert found[99].name == f"{prefix}{clip.clip}-{pattern.format(99)}.jpg"
            assert found[100].name == f"{prefix}{clip.clip}-100.jpg"


def test_a_clip_whose_offset_is_marked_as_missing_lasts_to_its_last_frame(release: Path) -> None:
    marked = [(number, row) for number, row in enumerate(rows_of(release), 1) if row[7] == "\\"]
    assert len(marked) == 2
    clips, findings, *_ = read_clips(release)
    assert [str(finding) for finding in findings] == [
        f"{release}/casme.xlsx, row {number}: casme/sub{int(str(row[1])):02d}/{row[3]}: "
        "offset '\\': the release marks none; used: up to the last frame"
        for number, row in marked
    ]
    for _, row in marked:
        clip = clips[clips["clip"] == row[3]].iloc[0]
        assert clip["offset"] == max(list_frames(Path(clip["frames"])))
        assert clip["offset"] > clip["apex"] == int(str(row[5]))


def test_columns_are_found_by_name_in_any_order(root: Path) -> None:
    before = read_clips(root).clips
    rewrite(root / "casme.xlsx", [row[::-1] for row in rows_of(root)])
    same_clips(before, read_clips(root).clips)


def test_an_xls_is_read_like_an_xlsx(root: Path) -> None:
    before = read_clips(root)
    xlwt = import_module("xlwt")  # it has no type hints
    book = xlwt.Workbook()
    page = book.add_sheet("Sheet1")
    for r, row in enumerate(rows_of(root)):
        for c, cell in enumerate(row):
            if cell is not None:
                page.write(r, c, int(cell) if cell.isdecimal() else cell)
    book.save(str(root / "CASME_modified.xls"))
    (root / "casme.xlsx").unlink()
    after = read_clips(root)
    pd.testing.assert_frame_equal(before.clips, after.clips)
    assert [finding.clip for finding in after.findings] == [finding.clip for finding in before.findings]


def test_a_sheet_for_each_section_is_read_as_one(root: Path) -> None:
    before = read_clips(root)
    header, *rows = rows_of(root)
    (root / "casme.xlsx").unlink()
    for name, subjects in (("CASME_SectionA_modified.xlsx", "12"), ("CASME_SectionB.xlsx", ("8", "19"))):
        rewrite(root / name, [header, *[row for row in rows if str(row[1]) in subjects]])
    for frames in ("cropped", "original"):
        after = read_clips(root, frames=frames)
        same_clips(before.clips, after.clips)
        assert unknown(after.findings) == []
    assert {Path(finding.place.partition(",")[0]).name for finding in after.findings} == {
        "CASME_SectionA_modified.xlsx",
        "CASME_SectionB.xlsx",
    }
    only = read_clips(root, sheet="CASME_SectionA_modified.xlsx")
    assert set(only.clips["subject"]) == {"sub01", "sub02"}
    unnamed = [finding for finding in only.findings if "no row of CASME_SectionA_modified" in finding.problem]
    assert len(unnamed) == len(before.clips) - len(only.clips)


def test_several_sheets_are_not_guessed_at(root: Path) -> None:
    shutil.copy(root / "casme.xlsx", root / "casme (1).xlsx")
    with pytest.raises(MerError, match=r"2 annotation files \(casme \(1\).xlsx, casme.xlsx\); choose with"):
        read_clips(root)
    assert len(read_clips(root, sheet="casme.xlsx").clips) == 18


def test_a_row_that_cannot_be_right_is_left_out_and_told(root: Path) -> None:
    """Corrections that other projects key by row number are not taken over: such rows are reported."""
    cells = rows_of(root)
    clip, offset = str(cells[1][3]), int(str(cells[1][7]))
    cells[1][4] = str(offset + 1)
    rewrite(root / "casme.xlsx", cells)
    clips, findings, *_ = read_clips(root)
    assert clip not in set(clips["clip"])
    assert unknown(findings) == [
        f"{root}/casme.xlsx, row 2: casme/sub01/{clip}: onset {offset + 1} after offset {offset}; "
        "left out: correct the row"
    ]


def test_a_folder_without_a_row_is_told(root: Path) -> None:
    clip = read_clips(root, frames="original").clips.iloc[-1]
    extra = root / "Section B/sub19/EP99_9"
    twin = root / "Section A/sub19" / clip["clip"]
    shutil.copytree(clip["frames"], extra)
    shutil.copytree(clip["frames"], twin)
    clips, findings, *_ = read_clips(root, frames="original")
    assert clips.iloc[-1]["frames"] == str(twin), "section A is looked into first"
    assert {finding.place for finding in findings if not finding.known} == {str(extra), clip["frames"]}


def test_the_full_stand_in_has_the_published_counts(full: Path) -> None:
    clips, findings, *_ = read_clips(full)
    assert count_mismatch(clips, PUBLISHED_COUNTS) == ""
    assert len(clips) == 189
    assert unknown(findings) == []
    assert class_counts(clips).loc["casme"].to_dict() == PUBLISHED_COUNTS["casme"]


def test_the_label_sets_give_the_printed_counts(full: Path) -> None:
    clips = read_clips(full).clips
    names = OmegaConf.load(config_dir() / "data/casme.yaml").label_sets
    counts = {}
    for name in names:
        mapped, classes = apply_labels(clips, *labels_of("casme", str(name)), full)
        counts[name] = [int((mapped["label"] == label).sum()) for label in classes]
    assert counts == {
        "original": [12, 43, 21, 38, 67, 5, 2, 1],
        "5class": [12, 43, 21, 38, 67],
        "4class": [12, 50, 21, 106],  # OrigiNet: positive, negative, surprise, others
        "3class": [43 + 38, 12, 21],
    }


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"frames='tiny': choose auto, cropped, original"):
        read_clips(root, frames="tiny")
    shutil.rmtree(root / "Cropped")
    assert set(read_clips(root).clips["cropped"]) == {False}, "auto takes the other layout"
    for section in ("Section A", "Section B"):
        shutil.rmtree(root / section)
    with pytest.raises(
        MerError, match=r"no folder of frames; looked for Cropped, Section A, Section B: unpack"
    ):
        read_clips(root)
    rewrite(root / "casme.xlsx", [["Subject", "Filename", "Label"], ["1", "EP01_5", "tense"]])
    (root / "Cropped").mkdir()
    with pytest.raises(
        MerError, match=r"casme.xlsx: no header row with the column\(s\) OnsetF, ApexF1, OffsetF"
    ):
        read_clips(root)
    with pytest.raises(
        MerError, match=r"no annotation file \(CASME\*.xlsx or .*put it there, or name it with"
    ):
        read_clips(tmp_path / "CASME/Cropped")


def test_one_section_alone_is_read(root: Path) -> None:
    shutil.rmtree(root / "Section A")
    clips, findings, *_ = read_clips(root, frames="original")
    assert set(clips["subject"]) == {"sub08", "sub19"}
    assert all("no such folder; left out" in text for text in unknown(findings))
