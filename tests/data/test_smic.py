import shutil
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from mer import config
from mer.data import megc2019_uvos
from mer.data.clips import count_mismatch, map_labels
from mer.data.findings import Finding, Reading
from mer.data.frames import list_frames
from mer.data.label_sets import labels_of
from mer.data.smic import PUBLISHED_COUNTS, Kind, clip_name, read_clips, subject_name
from mer.data.standins import write_standin
from mer.data.standins.smic import LONG, SMALL
from mer.data.videos import find_videos
from mer.errors import MerError
from mer.packaged import config_dir

CROPPED = "SMIC_all_cropped/HS"
RAW = "SMIC_all_raw/HS"
LONG_FOLDER = "HS_long/SMIC_HS_E"
SHEET = "HS_long/SMIC-HS-E_annotation.xlsx"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("smic", tmp_path_factory.mktemp("small") / "smic", size=16)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("smic", tmp_path_factory.mktemp("full") / "smic", full=True, size=16)


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(small, tmp_path / "smic")


def of(reading: Reading, clip: str) -> list[Finding]:
    return [finding for finding in reading.findings if finding.clip.endswith(f"/{clip}")]


def new(reading: Reading) -> list[tuple[str, str, str]]:
    return [
        (Path(finding.place).name, finding.problem, finding.outcome)
        for finding in reading.findings
        if not finding.known
    ]


def row_of(clips: pd.DataFrame, clip: str) -> pd.Series:
    rows = clips[clips["clip"] == clip]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_release_is_read_without_a_sheet(root: Path) -> None:
    (root / SHEET).unlink()
    clips = read_clips(root, frames="original").clips
    assert sorted(clips["clip"]) == sorted(clip_name(name) for name in SMALL)
    assert list(clips["subject"].unique()) == ["s01", "s02", "s03", "s18", "s20"]
    first = clips.iloc[0]
    assert (first["database"], first["subject"], first["clip"]) == ("smic", "s01", "s01_ne_01")
    assert (first["label"], first["fps"], first["cropped"]) == ("negative", 100.0, False)
    assert first["frames"] == str(root / RAW / "s1/micro/negative/s1_ne_01")
    assert clips["apex"].isna().all()


def test_a_clip_is_all_frames_of_its_folder(small: Path) -> None:
    for row in read_clips(small, frames="original").clips.to_dict("records"):
        numbers = list_frames(Path(row["frames"]))
        assert [row["onset"], row["offset"]] == [min(numbers), max(numbers)]


def test_subjects_and_clips_are_named_as_in_megc_2019() -> None:
    assert [subject_name(name) for name in ("s1", "s01", "S1", "1", "20", None)] == [
        *["s01"] * 4,
        "s20",
        "",
    ]
    assert [clip_name(name) for name in ("s1_ne_01", "s01_ne_01", "s20_sur_05")] == [
        *["s01_ne_01"] * 2,
        "s20_sur_05",
    ]
    assert [clip_name(name) for name in (None, "", "s1", "other_1")] == ["", "", "s1", "other_1"]


def test_a_padded_folder_name_gives_the_same_table(small: Path, root: Path) -> None:
    (root / RAW / "s1").rename(root / RAW / "s01")
    padded, plain = (read_clips(folder, frames="original").clips for folder in (root, small))
    pd.testing.assert_frame_equal(padded.drop(columns="frames"), plain.drop(columns="frames"))
    assert padded["frames"][0] == str(root / RAW / "s01/micro/negative/s1_ne_01")


def test_cropped_and_original_give_the_same_table_but_for_the_gaps(small: Path) -> None:
    original = read_clips(small, frames="original").clips
    cropped = read_clips(small, frames="cropped").clips
    assert cropped["cropped"].all()
    assert cropped["frames"].str.startswith(str(small / CROPPED)).all()
    expected = original[original["clip"] != "s18_sur_03"].reset_index(drop=True)
    expected.loc[expected["clip"] == "s03_sur_05", "offset"] -= 1
    pd.testing.assert_frame_equal(
        cropped.drop(columns=["frames", "cropped"]), expected.drop(columns=["frames", "cropped"])
    )


@pytest.mark.parametrize(
    ("clip", "problem"),
    [
        ("s03_po_08", "2 frame(s) missing between onset and offset, such as "),
        ("s03_sur_01", "1 frame(s) missing between onset and offset, such as "),
        ("s03_ne_16", "1 frame(s) missing between onset and offset, such as "),
    ],
)
def test_gaps_of_the_cropped_release_are_known(small: Path, clip: str, problem: str) -> None:
    (finding,) = of(read_clips(small, frames="cropped"), clip)
    assert finding.problem.startswith(problem)
    assert (finding.outcome, finding.known) == ("used", True)
    assert of(read_clips(small, frames="original"), clip) == []


def test_a_frame_that_is_missing_at_the_end_goes_unnoticed(small: Path) -> None:
    reading = read_clips(small)
    assert of(reading, "s03_sur_05") == []
    whole = read_clips(small, frames="original").clips
    assert row_of(reading.clips, "s03_sur_05")["offset"] == row_of(whole, "s03_sur_05")["offset"] - 1


def test_the_empty_clip_of_the_cropped_release_is_left_out(small: Path) -> None:
    reading = read_clips(small, frames="cropped")
    assert "s18_sur_03" not in set(reading.clips["clip"])
    (finding,) = of(reading, "s18_sur_03")
    assert "no frame in this folder" in finding.problem
    assert (finding.outcome, finding.known) == ("left out", True)


def test_auto_takes_the_original_frames_of_the_empty_clip(small: Path) -> None:
    reading = read_clips(small)
    row = row_of(reading.clips, "s18_sur_03")
    assert row["frames"] == str(small / RAW / "s18/micro/surprise/s18_sur_03")
    assert not row["cropped"]
    (finding,) = of(reading, "s18_sur_03")
    assert (finding.outcome, finding.known) == ("corrected", True)
    assert reading.clips["cropped"].sum() == len(reading.clips) - 1


def test_the_long_videos_take_onset_and_offset_from_the_sheet(small: Path) -> None:
    reading = read_clips(small, frames="long")
    raw = read_clips(small, frames="original").clips
    listed = raw[~raw["clip"].isin(["s01_ne_02", "s02_sur_05"])].reset_index(drop=True)
    listed[["onset", "offset"]] += LONG
    pd.testing.assert_frame_equal(reading.clips.drop(columns="frames"), listed.drop(columns="frames"))
    for row in reading.clips.to_dict("records"):
        numbers = list_frames(Path(row["frames"]))
        assert min(numbers) < row["onset"] < row["offset"] < max(numbers)
    assert row_of(reading.clips, "s03_po_08")["frames"] == str(small / LONG_FOLDER / "s03/s3_po_08")


def test_clips_without_a_row_in_the_sheet_are_told(small: Path, root: Path) -> None:
    reading = read_clips(small, frames="long")
    for clip in ("s01_ne_02", "s02_sur_05"):
        (finding,) = of(reading, clip)
        assert (finding.problem, finding.outcome, finding.known) == (
            "no row in SMIC-HS-E_annotation.xlsx",
            "left out",
            True,
        )
    shutil.copytree(root / LONG_FOLDER / "s01/s1_ne_01", root / LONG_FOLDER / "s01/s1_ne_02")
    (finding,) = of(read_clips(root, frames="long"), "s01_ne_02")
    assert finding.place == str(root / LONG_FOLDER / "s01/s1_ne_02")


def test_the_second_micro_expression_of_a_video_is_told(small: Path) -> None:
    book = openpyxl.load_workbook(small / SHEET)
    row = next(row for row in book["HS"].iter_rows(min_row=2) if row[5].value is not None)
    clip = clip_name(row[1].value)
    (finding,) = of(read_clips(small, frames="long"), clip)
    assert finding.place == f"{small / SHEET}, row {row[5].row}"
    assert finding.problem == f"another micro-expression in this video, {row[5].value} to {row[6].value}"
    assert (finding.outcome, finding.known) == ("used", True)


def test_all_micro_expressions_of_a_video_can_be_read(root: Path) -> None:
    book = openpyxl.load_workbook(root / SHEET)
    row = next(row for row in book["HS"].iter_rows(min_row=2) if row[5].value is not None)
    ends = (row[5].value, row[6].value, row[6].value + 1, row[6].value + 1)  # and a third, of one frame
    row[7].value, row[8].value = ends[2:]
    book.save(root / SHEET)
    clip = clip_name(row[1].value)
    plain, reading = (read_clips(root, frames="long", further=further) for further in (False, True))
    assert len(reading.clips) == len(plain.clips) + 2
    first, second, third = (row_of(reading.clips, name) for name in (clip, f"{clip}_2", f"{clip}_3"))
    assert first.equals(row_of(plain.clips, clip))
    assert (second["onset"], second["offset"], third["onset"], third["offset"]) == ends
    for other in (second, third):
        assert (other["label"], other["frames"]) == (first["label"], first["frames"])
    told = [(finding.outcome, finding.action, finding.known) for finding in of(reading, clip)]
    assert told == [("used", f"as the clip {clip}_{n}", True) for n in (2, 3)]
    videos = find_videos(reading.clips)
    assert len(videos.table) == len(plain.clips)
    several = videos.table.index[videos.table["label"] == "several"]
    assert videos.table["frames"][several].tolist() == [first["frames"]]
    assert videos.expressions["clip"][videos.expressions["video"] == several[0]].tolist() == [
        *(clip, f"{clip}_2", f"{clip}_3")
    ]
    row[8].value = None
    book.save(root / SHEET)
    reading = read_clips(root, frames="long", further=True)
    assert len(reading.clips) == len(plain.clips) + 1
    finding = of(reading, clip)[1]
    assert finding.problem == f"another micro-expression in this video, {ends[2]} to ?"
    assert (finding.outcome, finding.action, finding.known) == ("left out", "correct the row", False)
    with pytest.raises(MerError, match=r"data.clips.further=true: a sheet is read with .*frames=long only"):
        read_clips(root, frames="original", further=True)


def test_the_config_of_the_long_videos_reads_all(small: Path) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        data = compose("train", ["data=smic_long"]).data
    read, options = config.function(data.clips, "data.clips")
    assert read is read_clips
    reading = read_clips(small, **options)
    assert sum("another micro-expression" in finding.problem for finding in reading.findings) == 1
    assert len(reading.clips) == len(SMALL) - 2 + 1


def test_long_rows_and_folders_that_do_not_meet_are_found(root: Path) -> None:
    (root / LONG_FOLDER / "s20/s20_ne_01").rename(root / LONG_FOLDER / "s20/s20_ne_09")
    assert new(read_clips(root, frames="long")) == [
        (
            "SMIC-HS-E_annotation.xlsx, row 12",
            f"{root / LONG_FOLDER}/s20/s20_ne_01: no such folder",
            "left out",
        ),
        ("s20_ne_09", "a folder that no row of SMIC-HS-E_annotation.xlsx names", "left out"),
    ]


@pytest.mark.parametrize("name", ["SMIC-HS-E", "SMIC-HS-E/HS"])
def test_other_names_of_the_long_folder_are_found(small: Path, root: Path, name: str) -> None:
    moved = root / "HS_long" / name
    (root / LONG_FOLDER).rename(root / "HS_long/away")
    moved.parent.mkdir(exist_ok=True)
    (root / "HS_long/away").rename(moved)
    clips = read_clips(root, frames="long").clips
    pd.testing.assert_frame_equal(
        clips.drop(columns="frames"), read_clips(small, frames="long").clips.drop(columns="frames")
    )
    assert clips["frames"].str.startswith(str(moved)).all()


def test_auto_takes_what_is_there(root: Path) -> None:
    shutil.rmtree(root / "SMIC_all_cropped")
    assert read_clips(root).clips["frames"].str.startswith(str(root / RAW)).all()
    shutil.rmtree(root / "SMIC_all_raw")
    assert read_clips(root).clips["frames"].str.startswith(str(root / LONG_FOLDER)).all()


def test_clips_without_a_micro_expression(small: Path) -> None:
    micro, non_micro, both = (
        read_clips(small, frames="original", kind=kind).clips for kind in ("micro", "non_micro", "all")
    )
    assert set(non_micro["label"]) == {"non_micro"}
    assert list(non_micro["clip"]) == ["s01_n1", "s02_n1", "s03_n1", "s18_n1", "s20_n1"]
    joined = pd.concat([micro, non_micro]).sort_values(["subject", "clip"], ignore_index=True)
    pd.testing.assert_frame_equal(both, joined)


def test_a_kind_that_is_not_there_is_told(root: Path) -> None:
    with pytest.raises(MerError, match=r"data.clips.kind='macro': choose micro, non_micro, all"):
        read_clips(root, kind="macro")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"kind=all: the long videos .* give frames=cropped"):
        read_clips(root, frames="long", kind="all")
    for folder in (root / CROPPED).glob("*/non_micro"):
        shutil.rmtree(folder)
    kinds: tuple[Kind, ...] = ("non_micro", "all")
    for kind in kinds:
        with pytest.raises(MerError, match=r"HS: no clip in <subject>/non_micro; unpack the release"):
            read_clips(root, kind=kind)
    for folder in (root / CROPPED).glob("*/micro"):
        shutil.rmtree(folder)
    with pytest.raises(MerError, match=r"no clip in <subject>/micro/<negative, positive, surprise>"):
        read_clips(root)


def test_folders_out_of_place_are_left_out_and_told(root: Path) -> None:
    here = root / RAW
    before = read_clips(root, frames="original").clips
    # Another person's clip: it would be trained on and tested.
    (here / "s1/micro/positive/s1_po_01").rename(here / "s1/micro/positive/s2_po_02")
    (here / "s1/micro/anger").mkdir()
    (here / "s2/macro").mkdir()
    (here / "notes").mkdir()
    reading = read_clips(root, frames="original")
    assert set(before["clip"]) - set(reading.clips["clip"]) == {"s01_po_01"}
    assert new(reading) == [
        ("notes", "not a subject's folder (s1, s2, ...)", "left out"),
        ("anger", "not a label's folder (negative, positive, surprise)", "left out"),
        ("s2_po_02", "a clip of s02 in the folder of s01", "left out"),
        ("macro", "neither micro nor non_micro", "left out"),
    ]


def test_the_other_cameras_are_not_read(root: Path) -> None:
    shutil.copytree(root / CROPPED, root / "SMIC_all_cropped/NIR")
    assert not read_clips(root).clips["frames"].str.contains("NIR").any()
    shutil.rmtree(root / CROPPED)
    with pytest.raises(MerError, match=r"SMIC_all_cropped: no folder HS with the subjects s1, s2, \.\.\. in"):
        read_clips(root)


def test_missing_frames_and_sheets_are_told(root: Path) -> None:
    with pytest.raises(MerError, match=r"a sheet is read with data.clips.frames=long only"):
        read_clips(root, sheet=SHEET)
    (root / SHEET).rename(root / "HS_long/other.xlsx")
    with pytest.raises(MerError, match=r"no annotation file \(SMIC\?HS\?E_annotation\*.xlsx or "):
        read_clips(root, frames="long")
    assert len(read_clips(root, frames="long", sheet="HS_long/other.xlsx").clips) == len(SMALL) - 2
    pd.DataFrame({"Subject": [1], "Filename": ["s1_ne_01"]}).to_excel(root / SHEET, index=False)
    with pytest.raises(MerError, match=r"no header row with the column\(s\) OnsetF, OffsetF, Emotion"):
        read_clips(root, frames="long")
    shutil.rmtree(root / "SMIC_all_raw")
    with pytest.raises(MerError, match=r"no folder of frames; looked for SMIC_all_raw: unpack"):
        read_clips(root, frames="original")


def test_the_full_stand_in_has_the_published_counts(full: Path) -> None:
    reading = read_clips(full, frames="original")
    assert len(reading.clips) == 164
    assert count_mismatch(reading.clips, PUBLISHED_COUNTS) == ""
    assert reading.findings == []


def test_the_cropped_release_lacks_one_clip(full: Path) -> None:
    reading = read_clips(full, frames="cropped")
    assert count_mismatch(reading.clips, PUBLISHED_COUNTS) == "smic surprise 42, published 43"
    assert [finding.known for finding in reading.findings] == [True] * 4


def test_the_clips_are_those_of_the_published_flow_images(full: Path, megc2019_uvos: Path) -> None:
    published = megc2019_uvos_clips(megc2019_uvos)
    clips = read_clips(full, frames="original").clips
    pd.testing.assert_frame_equal(
        clips[["subject", "clip", "label"]], published[["subject", "clip", "label"]]
    )


def megc2019_uvos_clips(root: Path) -> pd.DataFrame:
    clips = megc2019_uvos.read_clips(root)
    return clips[clips["database"] == "smic"].reset_index(drop=True)


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ("3class", {"negative": 70, "positive": 51, "surprise": 43}),
        ("2class", {"negative": 70, "positive": 51}),
        ("micro", {"micro": 164, "non_micro": 16}),
    ],
)
def test_each_label_set_has_its_counts(full: Path, labels: str, counts: dict[str, int]) -> None:
    classes, label_map = labels_of("smic", labels)
    assert classes is not None
    assert label_map is not None
    clips = read_clips(full, frames="original", kind="all").clips
    assert map_labels(clips, label_map, classes, full)["label"].value_counts().to_dict() == counts
