"""CAS(ME)^2: the sheet without header, clips that share a long video, each quirk."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from openpyxl import load_workbook

from mer.data.casme_sq import (
    COLUMNS,
    FOLDERS,
    FPS,
    MICRO_COUNTS,
    PUBLISHED_COUNTS,
    VIDEOS,
    CASMESqDataModule,
    Kind,
    Label,
    read_clips,
)
from mer.data.clips import count_mismatch
from mer.data.findings import Finding
from mer.data.frames import list_frames
from mer.data.label_sets import apply_labels, labels_of
from mer.data.sheet import read_cells
from mer.data.standins import write_standin
from mer.data.videos import find_videos
from mer.errors import MerError
from mer.packaged import config_dir

SHEET = "CAS(ME)^2code_final.xlsx"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme_sq", tmp_path_factory.mktemp("casme_sq") / "CAS(ME)^2", size=16)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme_sq", tmp_path_factory.mktemp("casme_sq_full"), full=True, size=16)


@pytest.fixture
def root(release: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(release, tmp_path / "copy"))


def rows_of(root: Path) -> list[dict[str, Any]]:
    """The rows of the sheet with their numbers, read without the reader."""
    cells = read_cells(root / SHEET, sheet="CASFEcode_final")
    return [dict(zip(COLUMNS, row, strict=True)) | {"row": n} for n, row in enumerate(cells, 1)]


def name_of(row: dict[str, Any]) -> str:
    return f"casme_sq/s{FOLDERS[int(row['number'])]}/{row['video']}_{row['onset']}"


def change(root: Path, row: int, **values: object) -> None:
    book = load_workbook(root / SHEET)
    for name, value in values.items():
        book["CASFEcode_final"].cell(row, COLUMNS.index(name) + 1).value = value
    book.save(root / SHEET)


def unknown(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if not finding.known]


def by_name(clips: pd.DataFrame) -> pd.DataFrame:
    return clips.set_index(clips["database"] + "/" + clips["subject"] + "/" + clips["clip"])


def test_the_release_is_read(release: Path) -> None:
    clips, findings, *_ = read_clips(release)
    rows = rows_of(release)
    assert rows[0]["number"] == "1", "the first row is a clip: there is no header"
    assert len(clips) == len(rows) == 21
    assert set(clips["subject"]) == {"s15", "s16", "s19", "s40"}, "the sheet has 1, 2, 3 and 22"
    assert set(clips["fps"]) == {FPS} == {30}
    assert unknown(findings) == []
    table = by_name(clips)
    plain = [row for row in rows if "0" not in (row["apex"], row["offset"]) and row["apex"] < row["offset"]]
    assert len(plain) == 21 - 2 - 1 - 1
    for row in plain:
        clip = table.loc[name_of(row)]
        assert [str(clip[name]) for name in ("onset", "apex", "offset")] == [
            row[name] for name in ("onset", "apex", "offset")
        ]
    assert CASMESqDataModule.read_clips is read_clips


def test_subjects_and_videos_have_the_numbers_of_the_naming_rules(release: Path) -> None:
    """The release's own sheets; the ends of each range are those of its list of folders."""
    ranges = {1: 15, 2: 16, 3: 19, 11: 27, 12: 29, 21: 38, 22: 40}
    assert {number: FOLDERS[number] for number in ranges} == ranges
    assert len(FOLDERS) == len(set(FOLDERS.values())) == 22
    rule1, rule2 = (read_cells(release / SHEET, sheet=name) for name in ("naming rule1", "naming rule2"))
    assert rule1 == [[str(folder), f"s{folder}", str(number)] for number, folder in FOLDERS.items()]
    assert rule2 == [[code, video] for video, code in VIDEOS.items()]
    assert [code[:2] for code in VIDEOS.values()] == ["01"] * 2 + ["04"] * 2 + ["05"] * 5


def test_clips_that_share_a_long_video_have_names_of_their_own(release: Path) -> None:
    clips = read_clips(release, frames="original").clips
    assert not clips.duplicated(["subject", "clip"]).any()
    shared = clips[clips.duplicated("frames", keep=False)]
    assert len(shared) > 2
    for path, same in shared.groupby("frames"):
        ends = same.sort_values("onset")
        assert (ends["offset"].iloc[:-1].to_numpy() < ends["onset"].iloc[1:].to_numpy()).all()
        film = list_frames(Path(str(path)))
        assert {*same["onset"], *same["offset"]} <= set(film)
        assert len(film) > int((same["offset"] - same["onset"] + 1).sum()), "there are frames between"


def test_the_layouts_hold_the_same_clips(release: Path) -> None:
    readings = {name: read_clips(release, frames=name) for name in ("cropped", "original", "selected")}
    tables = {name: reading.clips for name, reading in readings.items()}
    for name in ("original", "selected"):
        pd.testing.assert_frame_equal(
            tables["cropped"].drop(columns=["frames", "cropped"]),
            tables[name].drop(columns=["frames", "cropped"]),
        )
        assert readings[name].findings == readings["cropped"].findings
    assert {name: set(table["cropped"]) for name, table in tables.items()} == {
        "cropped": {True},
        "original": {False},
        "selected": {False},
    }
    first = rows_of(release)[0]
    video = str(first["video"]).partition("_")[0]
    paths = [str(by_name(table).loc[name_of(first), "frames"]) for table in tables.values()]
    assert paths[0] == str(release / "cropped/15" / first["video"])
    assert paths[1].startswith(str(release / f"rawpic/s15/15_{VIDEOS[video]}"))
    assert paths[2] == str(release / "selectedpic/s15" / first["video"])
    pd.testing.assert_frame_equal(read_clips(release).clips, tables["cropped"])


def test_where_the_offset_is_0_the_apex_is_taken(release: Path) -> None:
    clips, findings, *_ = read_clips(release)
    odd = [row for row in rows_of(release) if row["offset"] == "0"]
    assert len(odd) == 2
    for row in odd:
        clip = by_name(clips).loc[name_of(row)]
        assert str(clip["apex"]) == str(clip["offset"]) == row["apex"]
        assert (
            f"{release / SHEET}, row {row['row']}: {name_of(row)}: offset 0; corrected: "
            "the apex is taken as the offset"
        ) in map(str, findings)


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (lambda row: row["apex"] == "0", "apex 0"),
        (lambda row: int(row["apex"]) > int(row["offset"]) > 0, "apex {apex} after offset {offset}"),
    ],
)
def test_an_apex_that_cannot_be_is_missing(release: Path, odd: Any, problem: str) -> None:
    clips, findings, *_ = read_clips(release)
    (row,) = [row for row in rows_of(release) if odd(row)]
    clip = by_name(clips).loc[name_of(row)]
    assert clip["apex"] is pd.NA
    assert str(clip["offset"]) == row["offset"]
    assert [
        finding for finding in findings if "spotted" in finding.action and finding.clip == name_of(row)
    ] == [
        Finding(
            place=f"{release / SHEET}, row {row['row']}",
            clip=name_of(row),
            problem=problem.format(**row),
            outcome="corrected",
            action="the apex is missing, it can be spotted",
            known=True,
        )
    ]


def test_the_misspelt_word_is_corrected_and_told(release: Path) -> None:
    (row,) = [row for row in rows_of(release) if row["self_report"] == "happyiness"]
    clips, findings, *_ = read_clips(release)
    assert by_name(clips).loc[name_of(row), "label"] == "happiness"
    text = f"{name_of(row)}: label 'happyiness'; corrected: taken as happiness"
    assert [finding.known for finding in findings if str(finding).endswith(text)] == [True]
    assert not any("happyiness" in str(finding) for finding in read_clips(release, label="emotion").findings)


def test_a_label_is_the_word_of_one_column_or_of_the_video(release: Path) -> None:
    rows = {name_of(row): row for row in rows_of(release)}
    vocabularies: dict[Label, set[str]] = {
        "emotion": {"negative", "positive", "others"},
        "video": {"anger", "happy", "disgust"},
        "self_report": {"anger", "happiness", "disgust", "sadness", "others"},
    }
    for label, words in vocabularies.items():
        clips = by_name(read_clips(release, label=label).clips)
        assert set(clips["label"]) == words
        for name, row in rows.items():
            expected = (
                row["video"][:-3] if label == "video" else row[label].replace("happyiness", "happiness")
            )
            assert clips.loc[name, "label"] == expected


def test_kind_chooses_the_type_of_expression(release: Path) -> None:
    kinds: tuple[Kind, ...] = ("all", "micro", "macro")
    tables = {kind: read_clips(release, kind=kind) for kind in kinds}
    for kind in kinds[1:]:
        named = {name_of(row) for row in rows_of(release) if row["type"] == f"{kind}-expression"}
        assert set(by_name(tables[kind].clips).index) == named
        assert {finding.clip for finding in tables[kind].findings} <= named, "of these clips only"
    assert len(tables["micro"].clips) + len(tables["macro"].clips) == len(tables["all"].clips)
    for key in ("kind", "label"):
        with pytest.raises(MerError, match=rf"data.clips.{key}='tiny': choose "):
            read_clips(release, **{key: "tiny"})  # type: ignore[arg-type]


def test_a_long_video_without_a_row_is_no_finding(root: Path) -> None:
    clips, findings, *_ = read_clips(root, frames="original")
    films = {str(path) for path in (root / "rawpic").glob("*/*")}
    assert len(films - set(clips["frames"])) > 0
    assert unknown(findings) == []
    assert unknown(read_clips(root, frames="original", kind="micro").findings) == []
    assert unknown(read_clips(root, frames="cropped", kind="micro").findings) == []


def test_the_long_videos_without_a_row_are_still(root: Path) -> None:
    films = {str(path) for path in (root / "rawpic").glob("*/*")}
    reading = read_clips(root, frames="original")
    assert reading.still is not None
    assert set(reading.still["frames"]) == films - set(reading.clips["frames"])
    first = reading.still.iloc[0]
    folder = Path(first["frames"])
    assert (first["database"], first["subject"], first["clip"]) == (
        "casme_sq",
        folder.parent.name,
        folder.name,
    )
    assert (first["fps"], first["cropped"]) == (30.0, False)
    videos = find_videos(reading.clips, reading.still)
    assert len(videos.table) == len(films)
    assert len(videos.expressions) == len(reading.clips) == 21
    assert (videos.table["label"] == "none").sum() == len(reading.still) > 0
    assert [read_clips(root, frames=name).still for name in ("cropped", "selected")] == [None, None]


def test_of_one_kind_the_videos_with_the_other_alone_are_still(root: Path) -> None:
    every = read_clips(root, frames="original")
    micro = read_clips(root, frames="original", kind="micro")
    assert every.still is not None
    assert micro.still is not None
    assert len(micro.clips) == 2
    assert set(micro.still["frames"]) | set(micro.clips["frames"]) == {
        str(path) for path in (root / "rawpic").glob("*/*")
    }
    assert set(every.still["frames"]) < set(micro.still["frames"])


def test_a_video_whose_row_cannot_be_used_is_not_still(root: Path) -> None:
    rows = rows_of(root)
    clips = by_name(read_clips(root, frames="original").clips)
    alone = clips[~clips.duplicated("frames", keep=False)]
    row = next(row for row in rows if name_of(row) in alone.index)
    change(root, row["row"], onset=None)
    reading = read_clips(root, frames="original")
    film = alone.loc[name_of(row), "frames"]
    assert reading.still is not None
    assert film not in set(reading.clips["frames"]) | set(reading.still["frames"])


def test_a_still_video_without_frames_is_told(root: Path) -> None:
    before = read_clips(root, frames="original").still
    assert before is not None
    folder = Path(before["frames"][0])
    shutil.rmtree(folder)
    folder.mkdir()
    reading = read_clips(root, frames="original")
    assert reading.still is not None
    assert set(before["frames"]) - set(reading.still["frames"]) == {str(folder)}
    (told,) = unknown(reading.findings)
    assert told.startswith(f"{folder}: no frame in this folder; ")
    assert told.endswith("; left out: unpack it again")


def test_the_config_of_the_long_videos_leaves_no_expression_out(full: Path) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        data = compose("train", ["data=casme_sq_original"]).data
    options = {name: data.clips[name] for name in ("frames", "kind", "label")}
    clips = read_clips(full, **options).clips
    assert len(apply_labels(clips, list(data.classes), dict(data.label_map), full)[0]) == 357
    assert data.clips.frames == "original"


def test_a_folder_that_cannot_belong_to_a_row_is_told(root: Path) -> None:
    extra = [root / "rawpic/s15/15_0909unheardof", root / "rawpic/s99"]
    for folder in (*extra, root / "cropped/15/disgust1_9"):
        folder.mkdir()
    findings = read_clips(root, frames="original").findings
    assert {finding.place for finding in findings if not finding.known} == set(map(str, extra))
    findings = read_clips(root, frames="cropped", kind="micro").findings
    assert unknown(findings) == [
        f"{root}/cropped/15/disgust1_9: a folder that no row of {SHEET} names; "
        "left out: add its row, if it should be used"
    ]


def test_a_video_under_another_subject_s_number_is_used_and_told(root: Path) -> None:
    """Other projects report s19/23_0502funnyerrors: its face decides, and nobody has told whose it is."""
    before = read_clips(root, frames="original").clips
    film = next(path for path in (root / "rawpic/s19").iterdir() if str(path) in set(before["frames"]))
    other = film.rename(film.with_name(film.name.replace("19_", "23_", 1)))
    clips, findings, *_ = read_clips(root, frames="original")
    pd.testing.assert_frame_equal(clips.drop(columns="frames"), before.drop(columns="frames"))
    assert str(other) in set(clips["frames"])
    assert unknown(findings) == [
        f"{other}: the name is of subject 23, the folder around it of 19; used: as subject 19's; "
        "look whose face it is"
    ]
    # Beside the subject's own film the other is not used.
    shutil.copytree(other, film)
    clips, findings, *_ = read_clips(root, frames="original")
    pd.testing.assert_frame_equal(clips, before)
    assert [finding.place for finding in findings if not finding.known] == [str(other)]


def test_a_row_that_cannot_be_used_is_left_out_and_told(root: Path) -> None:
    rows = rows_of(root)
    change(root, 5, offset=0, apex=0)
    change(root, 6, number=23)
    change(root, 8, type="mega-expression")
    change(root, 9, onset=None)
    clips, findings, *_ = read_clips(root)
    assert len(clips) == len(rows) - 4
    told = unknown(findings)
    names = [name_of(row) for row in rows]
    assert told == [
        f"{root / SHEET}, row 5: {names[4]}: onset '{rows[4]['onset']}' and offset '0' "
        "are no part of a video; left out: correct the row",
        f"{root / SHEET}, row 6: casme_sq//{rows[5]['video']}_{rows[5]['onset']}: "
        "subject '23' is none of 1 to 22; left out: correct the row",
        f"{root / SHEET}, row 8: {names[7]}: type 'mega-expression' is neither micro-expression "
        "nor macro-expression; left out: correct the row",
        f"{root / SHEET}, row 9: casme_sq/s{FOLDERS[int(rows[8]['number'])]}/{rows[8]['video']}_: "
        f"onset '' and offset '{rows[8]['offset']}' are no part of a video; left out: correct the row",
        f"{root / 'cropped'}/15/{rows[5]['video']}: a folder that no row of {SHEET} names; "
        "left out: add its row, if it should be used",
    ]


def test_both_names_of_the_sheet_and_of_the_file_are_known(root: Path) -> None:
    before = read_clips(root).clips
    book = load_workbook(root / SHEET)
    book["CASFEcode_final"].title = "CASMEcode_final"
    book.move_sheet("CASMEcode_final", 2)
    book.save(root / "CAS(ME)^2code_final(Updated).xlsx")
    with pytest.raises(MerError, match=r"2 annotation files \(.*choose with data.clips.sheet="):
        read_clips(root)
    (root / SHEET).unlink()
    pd.testing.assert_frame_equal(read_clips(root).clips, before)


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"data.clips.frames='tiny': choose auto, cropped, original, selected"):
        read_clips(root, frames="tiny")
    for folder in ("cropped", "rawpic", "selectedpic"):
        shutil.rmtree(root / folder)
    with pytest.raises(
        MerError, match=r"no folder of frames; looked for cropped, rawpic, selectedpic: unpack"
    ):
        read_clips(root)
    (root / "cropped").mkdir()
    with pytest.raises(MerError, match=r"none of 21 clips can be used; the first reason: "):
        read_clips(root)
    book = load_workbook(root / SHEET)
    book["CASFEcode_final"].delete_cols(1)
    book.save(root / SHEET)
    with pytest.raises(
        MerError, match=r"no row with micro-expression or macro-expression in column 8; this is"
    ):
        read_clips(root)
    book.remove(book["CASFEcode_final"])
    book.save(root / SHEET)
    with pytest.raises(MerError, match=r"no sheet CAS; there are naming rule1, naming rule2"):
        read_clips(root)
    (root / SHEET).unlink()
    with pytest.raises(
        MerError, match=r"no annotation file \(\*code_final\*.xlsx or .*put it there, or name"
    ):
        read_clips(root)


def test_the_full_stand_in_has_the_published_counts(full: Path) -> None:
    clips, findings, *_ = read_clips(full)
    assert len(clips) == 300 + 57
    assert count_mismatch(clips, PUBLISHED_COUNTS) == ""
    assert len(list((full / "rawpic").glob("*/*"))) == 87
    assert unknown(findings) == []
    problems = Counter(re.sub("[0-9]{2,}", "N", finding.problem) for finding in findings)
    assert problems == {"offset 0": 44, "apex 0": 1, "apex N after offset N": 3, "label 'happyiness'": 4}
    micro = read_clips(full, kind="micro", label="emotion").clips
    assert len(micro) == 57
    assert count_mismatch(micro, MICRO_COUNTS) == ""
    assert len(read_clips(full, kind="macro").clips) == 300


def test_the_label_sets_give_the_printed_counts(full: Path) -> None:
    """Each set names the column that its map reads."""
    counts = {}
    for name in OmegaConf.load(config_dir() / "data/casme_sq.yaml").label_sets:
        config = OmegaConf.load(config_dir() / "data/casme_sq.yaml")
        config.labels = name
        clips = read_clips(full, kind=config.clips.kind, label=config.clips.label).clips
        mapped, classes = apply_labels(clips, *labels_of("casme_sq", str(name)), full)
        counts[name] = {label: int((mapped["label"] == label).sum()) for label in classes}
    assert counts["3class"] == {"anger": 102, "happy": 155, "disgust": 88}  # AffectiveNet: 345
    assert counts["3class"]["happy"] - 4 == 151, "OrigiNet's, without the four misspelt ones: 341"
    assert counts["cross_dataset"] == {"positive": 155, "negative": 102 + 88, "surprise": 0, "others": 0}
    # Nothing is printed of these; what can be told is that no clip is left out.
    assert sum(counts["original"].values()) == sum(counts["3class_video"].values()) == 357
    assert counts["3class_video"]["happy"] == 155
    assert list(counts["original"]) == ["negative", "positive", "surprise", "others"]
