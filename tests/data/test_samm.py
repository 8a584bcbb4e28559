import shutil
from pathlib import Path

import pandas as pd
import pytest

from mer.data.clips import count_mismatch, map_labels
from mer.data.frames import list_frames
from mer.data.label_sets import labels_of
from mer.data.samm import PUBLISHED_COUNTS, read_clips, subject_name
from mer.data.sheet import read_cells
from mer.data.standins import write_standin
from mer.data.standins.samm import QUIRKS
from mer.errors import MerError

SHEET = "SAMM_Micro_FACS_Codes_v2.xlsx"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Called like the folder of the frames in it, as many a root will be.
    return write_standin("samm", tmp_path_factory.mktemp("small") / "samm", size=16)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("samm", tmp_path_factory.mktemp("full") / "release", full=True, size=16)


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(small, tmp_path / "samm")


def row_of(clips: pd.DataFrame, subject: str, clip: str) -> pd.Series:
    rows = clips[(clips["subject"] == subject) & (clips["clip"] == clip)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_release_is_read(small: Path) -> None:
    clips = read_clips(small).clips
    assert set(clips["database"]) == {"samm"}
    assert list(clips["subject"].unique()) == ["006", "013", "025", "028", "032"]
    assert set(clips["label"]) == set(PUBLISHED_COUNTS["samm"]) - {"subjects"}
    assert set(clips["fps"]) == {200.0}
    assert not clips["cropped"].any()
    first = clips.iloc[0]
    assert first["frames"] == str(small / "SAMM/006" / first["clip"])


def test_every_clip_runs_from_its_first_frame_to_its_last_whatever_the_padding(small: Path) -> None:
    clips = read_clips(small).clips
    widths = set()
    for row in clips.to_dict("records"):
        numbers = list_frames(Path(row["frames"]))
        assert [row["onset"], row["offset"]] == [min(numbers), max(numbers)]
        widths |= {len(path.stem.rpartition("_")[2]) for path in numbers.values()}
    assert widths >= {2, 3, 4, 5}, "the stand-in pads in several ways"


def test_the_sheet_has_its_preamble_and_integers_among_the_subjects(small: Path) -> None:
    cells = read_cells(small / SHEET, sheet="MICRO_ONLY")
    assert (cells[13][0], cells[13][9]) == ("Subject", "Estimated Emotion"), "row 14 of the spreadsheet"
    written = {str(row[0]) for row in cells[14:]}
    assert {"6", "006"} <= written
    assert {subject_name(name) for name in written} == {"006", "013", "025", "028", "032"}
    assert subject_name(None) == ""


def test_an_apex_outside_the_clip_is_taken_as_missing(small: Path) -> None:
    reading = read_clips(small)
    for key in (("028", "028_4_1"), ("032", "032_3_1")):
        _, onset, apex, offset, _ = QUIRKS[key]
        assert not onset <= apex <= offset
        row = row_of(reading.clips, *key)
        assert (row["onset"], row["offset"]) == (onset, offset)
        assert pd.isna(row["apex"])
        found = [finding for finding in reading.findings if finding.clip == f"samm/{key[0]}/{key[1]}"]
        assert [(finding.outcome, finding.known) for finding in found] == [("corrected", True)]
        assert found[0].problem == f"apex '{apex}' is taken as missing"
    assert reading.clips["apex"].isna().sum() == 2


def test_the_exchanged_digits_of_an_offset_are_put_right(small: Path) -> None:
    reading = read_clips(small)
    _, onset, apex, offset, written = QUIRKS["013", "013_1_9"]
    row = row_of(reading.clips, "013", "013_1_9")
    assert [row["onset"], row["apex"], row["offset"]] == [onset, apex, offset]
    found = [finding for finding in reading.findings if finding.clip == "samm/013/013_1_9"]
    assert [(finding.problem, finding.known) for finding in found] == [
        (f"offset '{written}' becomes '{offset}'", True)
    ]


def test_nothing_else_is_found(small: Path) -> None:
    assert len(read_clips(small).findings) == len(QUIRKS) == 3


def test_the_full_stand_in_has_the_published_counts(full: Path) -> None:
    reading = read_clips(full)
    assert len(reading.clips) == 159
    assert count_mismatch(reading.clips, PUBLISHED_COUNTS) == ""
    assert [finding.known for finding in reading.findings] == [True] * 3


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        # AffectiveNet's table; MEGC 2019 in LAENet's table 3.
        ("4class", {"positive": 26, "negative": 75, "surprise": 15, "others": 43}),
        ("3class", {"negative": 92, "positive": 26, "surprise": 15}),
        ("original", {k: n for k, n in PUBLISHED_COUNTS["samm"].items() if k != "subjects"}),
        ("5class", {k: n for k, n in PUBLISHED_COUNTS["samm"].items() if n > 10 and k != "subjects"}),
    ],
)
def test_each_label_set_has_the_papers_counts(full: Path, labels: str, counts: dict[str, int]) -> None:
    classes, label_map = labels_of("samm", labels)
    assert classes is not None
    assert label_map is not None
    mapped = map_labels(read_clips(full).clips, label_map, classes, full)
    assert mapped["label"].value_counts().to_dict() == counts
    assert set(classes) == set(counts)


def test_only_025_vanishes_with_other(full: Path) -> None:
    clips = read_clips(full).clips
    assert set(clips["subject"]) - set(clips.loc[clips["label"] != "other", "subject"]) == {"025"}


def test_ones_own_crops_give_the_same_table(root: Path) -> None:
    shutil.copytree(root / "SAMM", root / "SAMM_CROP")
    original, cropped = (read_clips(root, frames=layout).clips for layout in ("original", "cropped"))
    assert cropped["cropped"].all()
    assert (cropped["frames"] == original["frames"].str.replace("/SAMM/", "/SAMM_CROP/")).all()
    pd.testing.assert_frame_equal(
        cropped.drop(columns=["frames", "cropped"]), original.drop(columns=["frames", "cropped"])
    )
    assert read_clips(root).clips["cropped"].all(), "auto takes the cropped ones"


def test_the_root_may_be_the_folder_of_the_subjects(root: Path) -> None:
    (root / SHEET).rename(root / "SAMM" / SHEET)
    assert len(read_clips(root / "SAMM").clips) == len(read_clips(root).clips)


def test_a_sheet_that_was_saved_as_csv_is_read(small: Path, root: Path) -> None:
    cells = read_cells(root / SHEET)
    pd.DataFrame(cells).to_csv(root / "SAMM_Micro_FACS_Codes_v2.csv", header=False, index=False)
    with pytest.raises(
        MerError, match=r"2 annotation files \(.*csv, .*xlsx\); choose with data.clips.sheet="
    ):
        read_clips(root)
    clips = read_clips(root, sheet="SAMM_Micro_FACS_Codes_v2.csv").clips
    expected = read_clips(small).clips
    pd.testing.assert_frame_equal(clips.drop(columns="frames"), expected.drop(columns="frames"))


def test_a_missing_sheet_is_named(root: Path) -> None:
    (root / SHEET).unlink()
    with pytest.raises(MerError, match=r"samm: no annotation file \(SAMM\*Micro_FACS_Codes\*.xlsx or "):
        read_clips(root)


def test_another_sheet_is_told(root: Path, tmp_path: Path) -> None:
    cells = pd.DataFrame(read_cells(root / SHEET)).replace("Estimated Emotion", "Feeling")
    cells.to_excel(root / SHEET, header=False, index=False, sheet_name="MICRO_ONLY")
    with pytest.raises(MerError, match=r"no header row with the column\(s\) Estimated Emotion"):
        read_clips(root)
    cells.to_excel(root / SHEET, header=False, index=False, sheet_name="Long")
    with pytest.raises(MerError, match="no sheet MICRO_ONLY; there are Long"):
        read_clips(root)


def test_missing_frames_are_told(root: Path) -> None:
    with pytest.raises(MerError, match=r"no folder of frames; looked for SAMM_CROP, SAMM_Cropped: unpack"):
        read_clips(root, frames="cropped")
    shutil.rmtree(root / "SAMM")
    with pytest.raises(MerError, match=r"no folder of frames; looked for SAMM_CROP, SAMM_Cropped, SAMM: "):
        read_clips(root)
    with pytest.raises(MerError, match=r"data.clips.frames='long': choose auto, cropped, original"):
        read_clips(root, frames="long")


def test_a_clip_without_frames_and_frames_without_a_row_are_found(root: Path) -> None:
    before = read_clips(root).clips
    gone = Path(before["frames"][0])
    gone.rename(gone.with_name("006_9_9"))
    reading = read_clips(root)
    assert len(reading.clips) == len(before) - 1
    new = [finding for finding in reading.findings if not finding.known]
    assert [(finding.outcome, finding.problem.rpartition(": ")[2]) for finding in new] == [
        ("left out", "no such folder"),
        ("left out", f"a folder that no row of {SHEET} names"),
    ]
