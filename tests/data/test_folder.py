"""Own clips: the table that the documentation shows, each way for a row to be wrong, names and paths."""

import csv
import inspect
import os
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.data import folder
from mer.data.encoded import encode
from mer.data.findings import Finding, Reading
from mer.data.frames import read_clip
from mer.data.label_sets import apply_labels, labels_of
from mer.data.standins import write_standin
from mer.data.standins.tree import write_sheet
from mer.encodings import StillFrame
from mer.errors import MerError
from mer.packaged import config_dir
from tests.trees import write_frames

HEADER = ["subject", "clip", "label", "onset", "apex", "offset", "path"]


def write_table(
    root: Path, rows: Sequence[Sequence[object]], *, header: Sequence[str] = HEADER, encoding: str = "utf-8"
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "clips.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return root


def write_video(path: Path, frames: int) -> Path:
    """A video of so many grey frames of 16x16, each as bright as eight times its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (16, 16), isColor=False)
    for number in range(1, frames + 1):
        video.write(np.full((16, 16), 8 * number, np.uint8))
    video.release()
    assert path.is_file()
    return path


def rename_in_latin_1(path: Path, name: str) -> None:
    """Rename to a name whose bytes are Latin-1; the test is skipped where there is no such name."""
    try:
        path.rename(path.with_name(os.fsdecode(name.encode("latin-1"))))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")


def of_row(reading: Reading, row: int) -> Finding:
    """The one finding about a row of the table."""
    (finding,) = [finding for finding in reading.findings if finding.place.endswith(f"clips.csv, row {row}")]
    return finding


def test_the_table_in_the_documentation_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"::\n\n((?:    .*\n)+)", folder.__doc__ or "")
    (tmp_path / "clips.csv").write_text(textwrap.dedent(example), encoding="utf-8")
    write_frames(tmp_path / "frames/s01/smile 1", range(40, 90), size=(8, 8))
    write_frames(tmp_path / "frames/s01/shock", range(1, 13), size=(8, 8))
    write_video(tmp_path / "videos/s02_smile_1.avi", 30)
    clips, findings = folder.read_clips(tmp_path)[:2]
    assert findings == []
    cells = clips.drop(columns="frames").astype(object)
    assert cells.where(cells.notna(), None).to_numpy().tolist() == [
        ["folder", "s01", "shock, short", "surprise", 1, None, 12, None, False, None],
        ["folder", "s01", "smile 1", "happiness", 46, 59, 86, None, False, None],
        ["folder", "s02", "smile 1", "happiness", 1, 12, 30, None, False, None],
    ]
    assert clips["frames"].tolist() == [
        str(tmp_path / path) for path in ("frames/s01/shock", "frames/s01/smile 1", "videos/s02_smile_1.avi")
    ]


def test_every_column_is_documented() -> None:
    described = {
        name.strip()
        for line in re.findall(r"^([a-z]\w*(?:, \w+)*)$", folder.__doc__ or "", re.MULTILINE)
        for name in line.split(",")
    }
    assert described == {name.removesuffix("?") for name in folder.COLUMNS}


def test_the_stand_in_reads(tmp_path: Path) -> None:
    root = write_standin("folder", tmp_path / "own", size=16)
    clips, findings = folder.read_clips(root)[:2]
    assert findings == []
    assert clips["label"].value_counts().to_dict() == {"negative": 4, "positive": 4, "surprise": 4}
    assert clips["subject"].unique().tolist() == ["s1", "s2", "s3", "zoë"]
    assert clips["cropped"].all()
    assert (clips["fps"] == 60).all()
    assert clips["apex"].isna().sum() == 1
    table = (root / "clips.csv").read_bytes()
    assert table.count("zoë".encode("latin-1")) == 2 * 3, "a name and a path in each of three rows"
    assert b'"surprise, 2nd try"' in table
    videos = clips["frames"][clips["frames"].str.endswith(".avi")]
    assert len(videos) == 2
    for path in videos:
        assert read_clip(Path(path), [1, 6], grey=True).shape == (2, 1, 16, 16)


def test_more_subjects_in_the_full_stand_in(tmp_path: Path) -> None:
    clips = folder.read_clips(write_standin("folder", tmp_path / "own", full=True, size=16)).clips
    assert clips["subject"].nunique() == 13
    assert len(clips) == 39


def test_each_label_is_a_class_without_a_label_map(tmp_path: Path) -> None:
    write_frames(tmp_path / "f", range(1, 4), size=(8, 8))
    labels = ("Wut", "frown", "Überraschung", "frown")
    write_table(tmp_path, [[f"s{k}", "c", label, "", "", "", "f"] for k, label in enumerate(labels)])
    clips, classes = apply_labels(folder.read_clips(tmp_path).clips, *labels_of("folder"), tmp_path)
    assert classes == ["Wut", "frown", "Überraschung"]
    assert clips["label"].tolist() == list(labels)


def test_the_config_has_the_options_of_the_reader() -> None:
    config = OmegaConf.load(config_dir() / "data/folder.yaml")
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(folder.read_clips).parameters.items()
        if name != "root"
    }
    assert dict(config.clips) == {"_target_": "mer.data.folder.read_clips", **options}
    assert (config.classes, config.label_map, config.root) == (None, None, None)


# Rows of one table: the clip's name, its numbers and path -> problem, outcome.
BAD_ROWS: list[tuple[str, list[object], str, str]] = [
    ("a slash", ["/", 4, 6, "good"], "onset '/' is no frame number", "used"),
    ("a slash for the apex", [2, "/", 6, "good"], "apex '/' is no frame number", "used"),
    ("half a frame", [2, 4, 5.5, "good"], "offset '5.5' is no frame number", "used"),
    ("onset after offset", [6, 4, 2, "good"], "onset 6 after offset 2", "left out"),
    ("apex outside", [2, 7, 6, "good"], "apex 7 outside the clip, 2 to 6", "corrected"),
    ("onset before the first frame", [0, 4, 6, "good"], "no frame for the onset 0", "corrected"),
    (
        "all outside",
        [20, 22, 24, "good"],
        "no frame between onset 20 and offset 24",
        "left out",
    ),
    ("no folder", [2, 4, 6, "gone"], "gone: nothing is there", "left out"),
    ("too long a path", [2, 4, 6, "x" * 300], "nothing is there", "left out"),
    ("an empty folder", [2, 4, 6, "empty"], "no frame in this folder", "left out"),
    ("a file cut short", [2, 4, 6, "cut"], "img3.png is cut short", "left out"),
    ("no image", [2, 4, 6, "text"], "img3.png is no image", "left out"),
    ("two sizes", [2, 4, 6, "sizes"], "img5.png is 16x16, the other frames are 8x8", "left out"),
    ("two files of a frame", [2, 4, 6, "twice"], "img3.png and img_03.png are both frame 3", "left out"),
    (
        "a frame is missing",
        [2, 4, 6, "gap"],
        "1 frame(s) missing between onset and offset",
        "used",
    ),
    ("one image", [2, 4, 6, "good/img1.png"], "one image, and no folder of frames", "left out"),
    ("no video", [2, 4, 6, "gone.avi"], "gone.avi: nothing is there", "left out"),
    ("a video of no frames", [2, 4, 6, "none.avi"], "none.avi", "left out"),
    ("a video of text", [2, 4, 6, "text.avi"], "text.avi", "left out"),
    ("a short video", [2, 4, 9, "short.avi"], "no frame for the offset 9", "corrected"),
    ("out of the root", [2, 4, 6, "../elsewhere"], "../elsewhere: leads out of", "left out"),
    ("no path", [2, 4, 6, ""], "no path", "left out"),
]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which nearly every row is wrong, row 2 and the video of row 3 being right."""
    root = tmp_path_factory.mktemp("bad") / "root"
    write_frames(root.with_name("elsewhere"), range(1, 9), size=(8, 8))
    for name in ("good", "cut", "text", "sizes", "twice", "gap"):
        write_frames(root / name, range(1, 9), size=(8, 8))
    (root / "empty").mkdir()
    cut = root / "cut/img3.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    (root / "text/img3.png").write_text("a page that says: log in first")
    write_frames(root / "sizes", range(5, 6), size=(16, 16))
    (root / "twice/img_03.png").write_bytes((root / "twice/img3.png").read_bytes())
    (root / "gap/img5.png").unlink()
    write_frames(root / "frön", range(1, 9), size=(8, 8))
    with suppress(OSError):
        (root / "frön").rename(root / os.fsdecode("frön".encode("latin-1")))
    write_video(root / "short.avi", 6)
    write_video(root / "none.avi", 0)
    (root / "text.avi").write_text("a page that says: log in first")
    rows: list[list[object]] = [
        ["s0", "right", "joy", 2, 4, 6, "good"],
        ["s0", "video", "joy", 2, 4, 6, "short.avi"],
        *[["s1", name, "joy", *cells] for name, cells, _, _ in BAD_ROWS],
        ["s2", "again", "joy", 2, 4, 6, "good"],
        ["s2", "again", "joy", 2, 4, 6, "good"],
        ["s2", "two labels", "joy", 2, 4, 6, "good"],
        ["s2", "two labels", "anger", 2, 4, 6, "good"],
        ["s2", "two paths", "joy", 2, 4, 6, "good"],
        ["s2", "two paths", "joy", 2, 4, 6, "gap"],
        ["", "no subject", "joy", 2, 4, 6, "good"],
        ["s2", "", "joy", 2, 4, 6, "good"],
        ["s2", "no label", "", 2, 4, 6, "good"],
        ["zoë", "Latin-1", "joy", 2, 4, 6, "frön"],
    ]
    return write_table(root, rows, encoding="latin-1")


@pytest.fixture(scope="module")
def told(bad: Path) -> Reading:
    return folder.read_clips(bad)


@pytest.mark.parametrize("number", range(len(BAD_ROWS)), ids=[row[0] for row in BAD_ROWS])
def test_each_bad_row_is_told_with_its_number(told: Reading, number: int) -> None:
    name, _, problem, outcome = BAD_ROWS[number]
    finding = of_row(told, 4 + number)
    assert finding.clip == f"folder/s1/{name}"
    assert problem in finding.problem
    assert finding.outcome == outcome
    assert finding.action
    assert not finding.known
    assert (name in told.clips["clip"].tolist()) == (outcome != "left out")


def test_rows_that_come_twice(told: Reading) -> None:
    first = 4 + len(BAD_ROWS)
    again = of_row(told, first + 1)
    assert (again.problem, again.outcome) == ("the same row again", "corrected")
    for row in range(first + 2, first + 6):
        finding = of_row(told, row)
        assert (finding.problem, finding.outcome) == ("2 rows that differ", "left out")
    assert told.clips["clip"].tolist().count("again") == 1
    assert not set(told.clips["clip"]) & {"two labels", "two paths"}


def test_cells_that_must_not_be_empty(told: Reading) -> None:
    last = 4 + len(BAD_ROWS) + 6
    expected = {
        "no subject": "folder/?/no subject",
        "no clip": "folder/s2/?",
        "no label": "folder/s2/no label",
    }
    for row, (problem, clip) in enumerate(expected.items(), last):
        finding = of_row(told, row)
        assert (finding.problem, finding.clip, finding.outcome) == (problem, clip, "left out")


def test_a_name_in_latin_1_is_used_and_told(told: Reading, bad: Path) -> None:
    assert "Latin-1" in told.clips["clip"].tolist()
    if (bad / "frön").exists():
        pytest.skip("this file system takes names in UTF-8 only")
    finding = of_row(told, 4 + len(BAD_ROWS) + 9)
    assert finding.clip == "folder/zoë/Latin-1"
    assert finding.problem.endswith("fr\\xf6n: this name is not UTF-8")
    assert (finding.outcome, finding.known) == ("used", True)


def test_the_rows_without_fault_are_used_as_they_are(told: Reading, bad: Path) -> None:
    right = told.clips[told.clips["subject"] == "s0"]
    assert right[["clip", "onset", "apex", "offset"]].to_numpy().tolist() == [
        ["right", 2, 4, 6],
        ["video", 2, 4, 6],
    ]
    assert not [finding for finding in told.findings if "/s0/" in finding.clip]
    rows = 2 + len(BAD_ROWS) + 10
    assert len(pd.read_csv(bad / "clips.csv", encoding="latin-1")) == rows
    # Those two, the first of two that are the same, and the one in Latin-1: no other is without a finding.
    assert sum(not finding.known for finding in told.findings) == rows - 4


def test_what_becomes_of_the_numbers(told: Reading) -> None:
    cells = told.clips.set_index("clip")[["onset", "apex", "offset"]].astype(object)
    numbers = cells.where(cells.notna(), None).to_dict("index")
    assert list(numbers["a slash"].values()) == [1, 4, 6]
    assert list(numbers["a slash for the apex"].values()) == [2, None, 6]
    assert list(numbers["half a frame"].values()) == [2, 4, 8]
    assert list(numbers["apex outside"].values()) == [2, None, 6]
    assert list(numbers["onset before the first frame"].values()) == [1, 4, 6]
    assert list(numbers["a short video"].values()) == [2, 4, 6]


def test_what_was_kept_can_be_decoded(told: Reading) -> None:
    for row in told.clips.to_dict("records"):
        assert read_clip(Path(row["frames"]), [row["onset"], row["offset"]], grey=True).shape[:2] == (2, 1)


def test_a_missing_table_and_other_columns(tmp_path: Path) -> None:
    with pytest.raises(
        MerError, match=r"clips\.csv: no such table; write one with the columns subject, clip, label, path"
    ):
        folder.read_clips(tmp_path)
    write_table(tmp_path, [["s", "c", "f"]], header=["subject", "clip", "folder"])
    with pytest.raises(MerError, match=r"clips\.csv: no header row with the column\(s\) label, path"):
        folder.read_clips(tmp_path)
    (tmp_path / "notes.xlsx").write_text("no workbook")
    with pytest.raises(MerError, match=r"notes\.xlsx: not a spreadsheet that can be read"):
        folder.read_clips(tmp_path, table="notes.xlsx")


def test_a_table_of_which_nothing_can_be_used(tmp_path: Path) -> None:
    write_table(tmp_path, [])
    with pytest.raises(MerError, match=r"none of 0 clips can be used; there is no row below its header"):
        folder.read_clips(tmp_path)
    write_table(tmp_path, [["s", "c", "joy", "", "", "", "gone"]] * 2)
    with pytest.raises(
        MerError, match=r"none of 2 clips.*first reason: .*row 2: folder/s/c: gone: nothing is"
    ):
        folder.read_clips(tmp_path)
    (tmp_path / "gone").mkdir()
    # The clip that no row names is told too, but is no reason.
    write_frames(tmp_path / "other", range(1, 4), size=(8, 8))
    with pytest.raises(MerError, match=r"none of 2 clips.*row 2: folder/s/c: .*no frame in this folder"):
        folder.read_clips(tmp_path)


def test_a_workbook_reads_as_the_same_table(tmp_path: Path) -> None:
    write_frames(tmp_path / "f", range(1, 9), size=(8, 8))
    rows: list[list[object]] = [["1", "a", "joy", 1, 3, 5, "f"], ["2", "b", "anger", None, None, 6, "f"]]
    write_table(tmp_path, rows)
    write_sheet(
        tmp_path / "sheets/study.xlsx",
        [[int(str(subject)), clip, label, *numbers, "../f"] for subject, clip, label, *numbers, _ in rows],
        header=["Subject", "Clip", *HEADER[2:]],
        sheet="clips",
        above=2,
    )
    expected = folder.read_clips(tmp_path).clips
    got = folder.read_clips(tmp_path, table="sheets/study.xlsx")
    assert got.findings == []
    # Paths are from the table's own folder.
    assert got.clips["frames"].tolist() == [str(tmp_path / "sheets/../f")] * 2
    pd.testing.assert_frame_equal(got.clips.drop(columns="frames"), expected.drop(columns="frames"))


def test_paths_that_lead_out_of_the_root_need_an_option(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", write_frames(tmp_path / "outside", range(1, 5), size=(8, 8))
    write_frames(root / "inside", range(1, 5), size=(8, 8))
    (root / "link").symlink_to(outside)
    paths = ["inside", str(root / "inside"), "x/../inside", "../outside", str(outside), "link"]
    (root / "x").mkdir()
    write_table(root, [["s", f"c{k}", "joy", "", "", "", path] for k, path in enumerate(paths)])
    reading = folder.read_clips(root)
    assert reading.clips["clip"].tolist() == ["c0", "c1", "c2"]
    for row in (5, 6, 7):
        finding = of_row(reading, row)
        assert finding.problem == f"{paths[row - 2]}: leads out of {root.resolve()}"
        assert finding.action == "move it there, or allow it: data.clips.anywhere=true"
        assert finding.outcome == "left out"
    everywhere = folder.read_clips(root, anywhere=True)
    assert everywhere.findings == []
    assert len(everywhere.clips) == 6
    # A root that is a link itself is no way out.
    (tmp_path / "alias").symlink_to(root)
    assert len(folder.read_clips(tmp_path / "alias").clips) == 3


@pytest.mark.parametrize("table", ["utf-8", "latin-1"])
def test_a_name_is_found_however_the_disk_spells_it(tmp_path: Path, table: str) -> None:
    root = tmp_path / "root"
    names = ["zoë/frön", "zoé/vidéo.avi", "noé/né"]
    write_frames(root / "a/clip", range(1, 5), size=(8, 8), seed=1)
    write_video(root / "b/clip.avi", 4)
    write_frames(root / unicodedata.normalize("NFD", names[2]), range(1, 5), size=(8, 8), seed=1)
    rename_in_latin_1(root / "a/clip", "frön")
    rename_in_latin_1(root / "a", "zoë")
    rename_in_latin_1(root / "b/clip.avi", "vidéo.avi")
    rename_in_latin_1(root / "b", "zoé")
    write_table(root, [[f"s{k}", "c", "joy", 1, 2, 4, name] for k, name in enumerate(names)], encoding=table)
    clips, findings = folder.read_clips(root)[:2]
    assert [(f.clip, f.outcome, f.known) for f in findings] == [
        ("folder/s0/c", "used", True),
        ("folder/s1/c", "used", True),
    ]
    assert [f.place for f in findings] == [f"{root}/clips.csv, row 2", f"{root}/clips.csv, row 3"]
    assert findings[0].problem == f"{root}/zo\\xeb/fr\\xf6n: this name is not UTF-8"
    for finding, path in zip(findings, clips["frames"], strict=False):
        assert finding.action == f"read through {path}"
    first, second, third = (Path(path) for path in clips["frames"])
    assert os.fsencode(first.resolve()) == os.fsencode(root.resolve()) + b"/zo\xeb/fr\xf6n"
    assert read_clip(first, [1, 4], grey=False).equal(read_clip(third, [1, 4], grey=False))
    assert read_clip(second, [3], grey=True).float().mean().round().item() == pytest.approx(24, abs=2)
    # What comes after needs no care: the paths are text, and the same when they are read again.
    assert folder.read_clips(root).clips["frames"].tolist() == clips["frames"].tolist()
    pd.testing.assert_frame_equal(folder.read_clips(root).clips, clips)


def test_clips_with_such_names_are_encoded(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_frames(root / "a", range(1, 5), size=(8, 8))
    rename_in_latin_1(root / "a", "frön")
    write_table(root, [["s", "c", "joy", 1, 2, 4, "frön"]])
    clips = folder.read_clips(root).clips
    assert len(encode(clips, StillFrame(size=8), progress=False).images) == 1


def test_folders_parted_by_backslashes(tmp_path: Path) -> None:
    write_frames(tmp_path / "s1/c1", range(1, 5), size=(8, 8))
    write_table(tmp_path, [["s1", "c1", "joy", "", "", "", "s1\\c1"]])
    assert folder.read_clips(tmp_path).clips["frames"].tolist() == [str(tmp_path / "s1/c1")]


def test_rows_and_options_say_the_frame_rate(tmp_path: Path) -> None:
    write_frames(tmp_path / "f", range(1, 5), size=(8, 8))
    cells = ["", "29.97", "fast", "0", "-25", "inf"]
    write_table(
        tmp_path,
        [[f"s{k}", "c", "joy", "f", fps] for k, fps in enumerate(cells)],
        header=["subject", "clip", "label", "path", "FPS"],
    )
    reading = folder.read_clips(tmp_path, fps=200)
    rates = reading.clips["fps"].astype(object).where(reading.clips["fps"].notna(), None).tolist()
    assert rates == [200, 29.97, None, None, None, None]
    for row, cell in enumerate(cells[2:], 4):
        finding = of_row(reading, row)
        assert (finding.problem, finding.outcome) == (f"fps '{cell}' is no number above 0", "used")
    assert folder.read_clips(tmp_path).clips["fps"].isna().tolist() == [True, False] + [True] * 4


def test_rows_and_options_say_what_is_cropped(tmp_path: Path) -> None:
    write_frames(tmp_path / "f", range(1, 5), size=(8, 8))
    cells = ["", "Yes", "no", "TRUE", "0", "perhaps"]
    write_table(
        tmp_path,
        [[f"s{k}", "c", "joy", "f", cropped] for k, cropped in enumerate(cells)],
        header=["subject", "clip", "label", "path", "cropped"],
    )
    reading = folder.read_clips(tmp_path)
    assert reading.clips["cropped"].tolist() == [False, True, False, True, False, False]
    finding = of_row(reading, 7)
    assert finding.problem == "cropped 'perhaps' is neither yes nor no"
    assert (finding.outcome, finding.action) == ("used", "as no")
    cropped = folder.read_clips(tmp_path, cropped=True).clips["cropped"]
    assert cropped.tolist() == [True, True, False, True, False, True]


def test_landmarks_are_found_like_the_path(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_frames(root / "f", range(1, 5), size=(8, 8))
    (root / "points.txt").write_text("1 2\n" * 68)
    (tmp_path / "outside.txt").write_text("1 2\n" * 68)
    cells = ["points.txt", "", "gone.txt", "../outside.txt", "f"]
    write_table(
        root,
        [[f"s{k}", "c", "joy", "f", points] for k, points in enumerate(cells)],
        header=["subject", "clip", "label", "path", "landmarks"],
    )
    clips, findings = folder.read_clips(root)[:2]
    assert clips["landmarks"][0] == str(root / "points.txt")
    assert clips["landmarks"].isna().tolist() == [False, True, True, True, True]
    assert [(finding.place[-5:], finding.problem, finding.outcome) for finding in findings] == [
        ("row 4", "landmarks gone.txt: nothing is there", "used"),
        ("row 5", f"landmarks ../outside.txt: leads out of {root.resolve()}", "used"),
        ("row 6", "landmarks f: no file", "used"),
    ]


def test_one_table_of_two_databases(tmp_path: Path) -> None:
    write_frames(tmp_path / "f", range(1, 5), size=(8, 8))
    write_frames(tmp_path / "g", range(1, 5), size=(8, 8))
    header = ["database", "subject", "clip", "label", "fps", "path"]
    rows = [["lab", "s1", "c", "joy", 100, "f"], ["", "s1", "c", "anger", 25, "g"]]
    write_table(tmp_path, rows, header=header)
    clips, findings = folder.read_clips(tmp_path, database="home")[:2]
    assert findings == []
    assert clips[["database", "subject", "label", "fps"]].to_numpy().tolist() == [
        ["home", "s1", "anger", 25],
        ["lab", "s1", "joy", 100],
    ]
    (tmp_path / "empty").mkdir()
    write_table(tmp_path, [rows[0], ["away", "s1", "c", "joy", "", "empty"]], header=header)
    (tmp_path / "g").rename(tmp_path / "empty/g")
    reading = folder.read_clips(tmp_path)
    assert reading.clips["database"].tolist() == ["lab"]
    (finding,) = reading.findings
    assert finding.outcome == "left out"
    assert "database away: none of 1 clips can be used; the first reason: " in finding.problem
    assert "row 3: away/s1/c: " in finding.problem


def test_clips_that_no_row_names_are_told(tmp_path: Path) -> None:
    for name in ("s1/named", "s1/forgotten", "s2/of a subject without rows"):
        write_frames(tmp_path / name, range(1, 5), size=(8, 8))
    write_frames(tmp_path / "s1/.thumbnails", range(1, 5), size=(8, 8))
    (tmp_path / "s1/notes").mkdir()
    (tmp_path / "s1/notes/plan.txt").write_text("no clip")
    write_video(tmp_path / "s1/forgotten.avi", 2)
    write_table(tmp_path, [["s1", "named", "joy", "", "", "", "s1/named"]])
    findings = folder.read_clips(tmp_path).findings
    assert [finding.place for finding in findings] == [
        str(tmp_path / "s1/forgotten"),
        str(tmp_path / "s1/forgotten.avi"),
    ]
    assert {finding.problem for finding in findings} == {"no row of clips.csv names it"}
    assert {finding.outcome for finding in findings} == {"left out"}
